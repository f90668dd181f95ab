//! The attacked model in f64 and rows of its images, as evaluation attacks take them.

use attacks::quantize;
use candle_core::Device;
use nn::model::Weights;
use robustness::{Batch, Target};

use crate::{
    common::{self, Golden},
    exact::F64Model,
};

/// Of each image, `scripts/golden/robustness` keeps every 31st pixel.
pub const STRIDE: usize = 31;

/// The attacked model and some of its images.
pub struct Attacked {
    pub model: F64Model,
    pub batch: Batch,
}

impl Attacked {
    /// These rows of the golden file `attacks`; their ids are the rows.
    pub fn open(rows: &[usize]) -> Self {
        let weights = Weights::read(&common::path("attacks_weights"), &Device::Cpu).unwrap();
        let golden = Golden::read("attacks");
        let bytes: Vec<u8> = golden
            .get("images")
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        let images = quantize::to_tensor(&bytes, &Device::Cpu).unwrap();
        let all = Batch {
            clean: images.flatten_all().unwrap().to_vec1().unwrap(),
            labels: golden.floats("labels").iter().map(|&l| l as u8).collect(),
            ids: (0..12).collect(),
        };
        Self {
            model: F64Model::new(&weights.0),
            batch: all.select(rows),
        }
    }

    /// The model as a target.
    pub fn target(&self) -> Target<'_> {
        Target::new(&self.model, &Device::Cpu, &|| Ok(()))
    }
}

/// The pixels that golden files keep of each of these images.
pub fn few(pixels: &[f32]) -> Vec<f32> {
    let images = pixels.chunks_exact(data::IMAGE_BYTES);
    images
        .flat_map(|image| image.iter().step_by(STRIDE))
        .copied()
        .collect()
}

/// Fails where two lists differ by more than `bound`, but for `exceptions` places; prints the largest difference.
pub fn assert_near(name: &str, ours: &[f32], theirs: &[f32], bound: f32, exceptions: usize) {
    assert_eq!(ours.len(), theirs.len(), "{name}: numbers of values");
    let differences: Vec<f32> = std::iter::zip(ours, theirs)
        .map(|(a, b)| (a - b).abs())
        .collect();
    let largest = differences
        .iter()
        .fold(0.0, |largest: f32, d| largest.max(*d));
    println!("{name}: {largest:.1e}");
    let near = |&i: &usize| differences[i] <= bound; // which no NaN is
    let far: Vec<usize> = (0..ours.len()).filter(|i| !near(i)).collect();
    if far.len() > exceptions {
        let i = far[0];
        panic!(
            "{name}: {} of {} values differ by more than {bound:.0e}; the first is value {i}: {}, expected {}",
            far.len(),
            ours.len(),
            ours[i],
            theirs[i],
        );
    }
}
