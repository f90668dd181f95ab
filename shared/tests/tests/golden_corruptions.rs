//! Golden tests of the corruptions: with the same random numbers, bytes equal those of the authors' program.

#[expect(dead_code, reason = "only its reader of files is used here")]
mod common;

use base::random::{key, uniform_at};
use common::Golden;
use data::{
    IMAGE_BYTES,
    corruptions::{Corruption, NoiseSource, Severity},
};

/// The file holds every so many-th byte.
const STRIDE: usize = 7;

/// The random numbers of `scripts/golden/corruptions`, for one image and severity.
struct Formula {
    /// Of normal numbers, of impulses and of their kind.
    keys: [u64; 3],
    /// Numbers drawn so far: normal and uniform.
    normals: u64,
    uniforms: u64,
}

impl Formula {
    fn new(image: usize, severity: Severity) -> Self {
        let indices = [image as u64, severity.number().into()];
        let keys =
            ["normal", "hit", "salt"].map(|kind| key(0, &format!("golden/{kind}"), &indices));
        Self {
            keys,
            normals: 0,
            uniforms: 0,
        }
    }
}

impl NoiseSource for Formula {
    fn normal(&mut self) -> f64 {
        let first = 12 * self.normals;
        self.normals += 1;
        let uniforms = (first..first + 12).map(|i| f64::from(uniform_at(self.keys[0], i)));
        uniforms.sum::<f64>() - 6.0
    }

    fn uniform(&mut self) -> f64 {
        // For each value whether it is hit, then which of the two it becomes.
        let (value, kind) = (self.uniforms / 2, 1 + self.uniforms % 2);
        self.uniforms += 1;
        f64::from(uniform_at(self.keys[kind as usize], value))
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        (mean + mean.sqrt() * self.normal() + 0.5).floor().max(0.0)
    }
}

/// How many of the file's bytes of a corruption differ, of how many, and by how much at most.
fn differences(golden: &Golden, name: &str) -> (usize, usize, u8) {
    let bytes = |name: &str| -> Vec<u8> {
        let tensor = golden.get(name).flatten_all().unwrap();
        tensor.to_vec1().unwrap()
    };
    let (images, expected) = (bytes("images"), bytes(name));
    let computed = Corruption::named(name).unwrap().computed.unwrap();
    let mut ours = Vec::new();
    for (number, image) in images.chunks_exact(IMAGE_BYTES).enumerate() {
        for severity in Severity::ALL {
            let mut noise = Formula::new(number, severity);
            let corrupted = computed.apply(image, severity, &mut noise);
            ours.extend(corrupted.into_iter().step_by(STRIDE));
        }
    }
    assert_eq!(ours.len(), expected.len());
    let distances = ours.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
    let distances: Vec<u8> = distances.filter(|distance| *distance > 0).collect();
    let largest = distances.iter().max().copied().unwrap_or(0);
    (distances.len(), ours.len(), largest)
}

#[test]
fn corruptions_equal_those_of_the_authors_program() {
    let golden = Golden::read("corruptions");
    let computed = Corruption::all_computed().map(|(row, _)| row.name);
    let wrong = computed.filter_map(|name| {
        let (count, all, largest) = differences(&golden, name);
        (count > 0).then(|| format!("{name}: {count} of {all} bytes differ, by up to {largest}"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The file has no other corruption.
    assert_eq!(golden.tensors.len(), 1 + Corruption::all_computed().count());
}
