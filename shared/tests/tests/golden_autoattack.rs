//! Golden test of AutoAttack's standard set: on two trained models the images that stay robust are those of the AutoAttack
//! authors' code, attack by attack. The head of `scripts/golden/robustness` describes the files.
//!
//! The random numbers of starts and of Square are not the reference's, so an image at the edge may differ.

#[allow(dead_code, reason = "other golden tests use the rest")]
mod common;

use candle_core::Device;
use common::Golden;
use data::synthetic::draw;
use nn::model::Loaded;
use robustness::{AUTOATTACK, Batch, EvaluationAttack, Norm, Settings, Target, ThreatModel};

/// Index of the first synthetic test image.
const TEST: u64 = 1 << 32;
/// Model, norm, radius as the file's names have it, and the radius.
const CASES: [(&str, Norm, &str, f32); 5] = [
    ("natural", Norm::Linf, "1", 1.0 / 255.0),
    ("natural", Norm::L2, "0.2", 0.2),
    ("robust", Norm::Linf, "4", 4.0 / 255.0),
    ("robust", Norm::Linf, "8", 8.0 / 255.0),
    ("robust", Norm::L2, "0.5", 0.5),
];

/// The images that the reference attacked.
fn images(golden: &Golden) -> Batch {
    let labels: Vec<u8> = golden.floats("labels").iter().map(|&l| l as u8).collect();
    let checksums: Vec<i64> = golden.get("checksums").to_vec1().unwrap();
    let mut clean = Vec::new();
    for (i, (&label, checksum)) in labels.iter().zip(checksums).enumerate() {
        let pixels = draw(0, TEST + i as u64, label);
        let places = pixels.iter().zip(1..);
        let sum: i64 = places.map(|(&pixel, place)| i64::from(pixel) * place).sum();
        assert_eq!(sum, checksum, "image {i} is not the one that was attacked");
        clean.extend(pixels.iter().map(|&pixel| f32::from(pixel) / 255.0));
    }
    let ids = (0..labels.len() as u64).collect();
    Batch { clean, labels, ids }
}

/// How many of the file's 100 images are attacked: a few, since all of them take five minutes. The variable
/// `MITHRIDATE_GOLDEN_IMAGES` sets another number.
fn count() -> usize {
    let given = std::env::var("MITHRIDATE_GOLDEN_IMAGES");
    given.map_or(8, |count| count.parse().unwrap())
}

#[test]
fn autoattack_leaves_the_images_robust_that_the_reference_leaves() {
    let count = count();
    let golden = Golden::read("autoattack");
    let rows: Vec<usize> = (0..count).collect();
    let batch = images(&golden).select(&rows);
    let flags = |name: String| -> Vec<bool> {
        let flags = golden.floats(&name);
        flags.iter().take(count).map(|&flag| flag == 1.0).collect()
    };
    let settings = Settings {
        queries: Some(1000),
        ..Settings::default()
    };
    let mut wrong = Vec::new();
    for (name, norm, radius, eps) in CASES {
        let path = common::path(&format!("autoattack_{name}_weights"));
        let model = Loaded::read(&path, None, &Device::Cpu).unwrap();
        let model = model.network.eval().unwrap();
        let target = Target::new(model.as_ref(), &Device::Cpu, &|| Ok(()));
        let clean = flags(format!("{name}/clean"));
        let (mut ours_so_far, mut theirs_so_far) = (clean.clone(), clean);
        let case = match norm {
            Norm::Linf => format!("{name}/Linf/{radius}"),
            Norm::L2 => format!("{name}/L2/{radius}"),
        };
        for attack in AUTOATTACK {
            let row = EvaluationAttack::named(attack).unwrap();
            let threat = ThreatModel { norm, eps };
            let found = row.attack(&target, &batch, &threat, &settings).unwrap();
            let ours: Vec<bool> = found.iter().map(Option::is_none).collect();
            let theirs = flags(format!("{case}/{attack}"));
            for i in 0..batch.len() {
                ours_so_far[i] &= ours[i];
                theirs_so_far[i] &= theirs[i];
            }
            // Alone, Square is a random search with a budget: which images it fools depends on its random numbers.
            let bound = if attack == "square" { 6 } else { 1 };
            wrong.extend(mismatch(&format!("{case}/{attack}"), &ours, &theirs, bound));
            let so_far = format!("{case}, robust after {attack}");
            wrong.extend(mismatch(&so_far, &ours_so_far, &theirs_so_far, 1));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is wrong if more than `bound` images differ.
fn mismatch(name: &str, ours: &[bool], theirs: &[bool], bound: usize) -> Option<String> {
    assert_eq!(ours.len(), theirs.len());
    let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
    let differ: Vec<usize> = (0..ours.len()).filter(|&i| ours[i] != theirs[i]).collect();
    let line = format!(
        "{name}: {} robust, expected {}; images that differ: {differ:?}",
        count(ours),
        count(theirs)
    );
    println!("{line}");
    (differ.len() > bound).then_some(line)
}
