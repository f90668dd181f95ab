//! Tests of stores: a small one with random images, built, read, damaged, merged and packed.

use std::path::{Path, PathBuf};

use super::{AttackRow, BuildSpec, ImageRow, ModelRow, SampleRow, Store, Writer, distances};
use base::random::Stream;
use data::{IMAGE_BYTES, Split};

mod attack_counts;
mod damage;
mod merge;
mod packed;
mod refusal;
mod resume;
mod round_trip;

const ATTACKS: [&str; 6] = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"];
const IMAGES: [u64; 3] = [12, 3, 3];
const ALL: u64 = 18;

/// A folder of its own and a store's path in it.
fn new_store() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

fn spec() -> BuildSpec {
    BuildSpec {
        dataset: "cifar10".into(),
        classes: (0..10).map(|class| format!("class{class}")).collect(),
        source_hash: "5f".repeat(32),
        seed: 7,
        preset: "paper".into(),
        limit: None,
        shard: "1/1".into(),
        images: IMAGES,
        generator_version: "0.1.0".into(),
        attacks: (1..)
            .zip(ATTACKS)
            .map(|(id, name)| AttackRow {
                id,
                name: name.into(),
                params: format!(r#"{{"strength":0.{id}}}"#),
                model_id: 1,
            })
            .collect(),
        model: ModelRow::new(
            "baseline",
            r#"{"width":64}"#,
            random_bytes("weights", 0, 20_000),
        ),
    }
}

fn random_bytes(purpose: &str, id: u64, count: usize) -> Vec<u8> {
    let mut stream = Stream::new(1, purpose, &[id]);
    (0..count).map(|_| stream.below(256) as u8).collect()
}

/// Split after split, as a build numbers them.
fn images() -> Vec<ImageRow> {
    let splits = Split::ALL.into_iter().zip(IMAGES);
    let splits: Vec<Split> = splits
        .flat_map(|(split, count)| (0..count).map(move |_| split))
        .collect();
    (0..)
        .zip(splits)
        .map(|(id, split)| ImageRow {
            id,
            split,
            source_index: 1000 - id as u32,
            label: (id % 10) as u8,
            pixels: random_bytes("image", id, IMAGE_BYTES).into(),
            clean_pred: (id % 7) as u8,
        })
        .collect()
}

fn samples_of(attack_id: i64) -> Vec<SampleRow> {
    let sample = |image: ImageRow| {
        let mut stream = Stream::new(2, "sample", &[image.id, attack_id as u64]);
        let mut noisy = |&byte: &u8| byte.saturating_add(stream.below(9) as u8);
        let pixels: Box<[u8]> = image.pixels.iter().map(&mut noisy).collect();
        let (l2, linf) = distances(&image.pixels, &pixels);
        SampleRow {
            image_id: image.id,
            attack_id,
            pixels: pixels.into(),
            pred: stream.below(10) as u8,
            pred_float: stream.below(10) as u8,
            l2,
            linf,
            steps: attack_id as u32,
        }
    };
    images().into_iter().map(sample).collect()
}

/// Writes the missing rows, in batches of this size, and finishes.
fn write_missing(writer: &mut Writer, batch: usize) -> String {
    let missing = writer.missing_images(0..ALL).unwrap();
    let mut rows = images();
    rows.retain(|row| missing.contains(&row.id));
    for rows in rows.chunks(batch) {
        writer.insert_images(rows).unwrap();
    }
    for attack in 1..=6 {
        let missing = writer.missing_samples(attack, 0..ALL).unwrap();
        let mut rows = samples_of(attack);
        rows.retain(|row| missing.contains(&row.image_id));
        for rows in rows.chunks(batch) {
            writer.insert_samples(rows).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn open_writer(path: &Path) -> Writer {
    Writer::create_or_resume(path, &spec(), "cpu").unwrap()
}

/// A complete store at `path`; its content hash.
fn build(path: &Path) -> String {
    write_missing(&mut open_writer(path), ALL as usize)
}

/// All rows of a store, or the first error.
fn everything(path: &Path) -> base::Result<Vec<(ImageRow, Vec<SampleRow>)>> {
    let store = Store::open(path)?;
    let mut rows = Vec::new();
    for split in Split::ALL {
        store.for_each(split, |image, samples| {
            rows.push((image, samples));
            Ok(())
        })?;
    }
    Ok(rows)
}

fn expected() -> Vec<(ImageRow, Vec<SampleRow>)> {
    let samples: Vec<_> = (1..=6).map(samples_of).collect();
    let of = |image: &ImageRow| {
        samples
            .iter()
            .map(|s| s[image.id as usize].clone())
            .collect()
    };
    images()
        .into_iter()
        .map(|image| (image.clone(), of(&image)))
        .collect()
}
