//! Synthetic data set of ten classes in CIFAR-10's binary form, for trials without a download.

mod draw;

use std::{fs, path::Path};

use rayon::prelude::*;

use crate::{CIFAR10, IMAGE_BYTES, PublishedForm};
use base::{
    Error, Result, files,
    output::{self, Output},
    random,
};

pub use draw::{SHAPES, draw};

/// Training batches, as many as the official set has.
const BATCHES: usize = 5;

/// Index of the first test image, independent of the number of training images.
const TEST: u64 = 1 << 32;

/// Training images at most: the set is made in memory, and has 4 GB then.
const MOST_IMAGES: usize = 1_000_000;

/// The form that the set is written in.
const FORM: PublishedForm = CIFAR10.forms[0];

/// Writes `count` training images as `data_batch_1.bin` to `data_batch_5.bin`, `count / 5` test
/// images as `test_batch.bin` and the class names as `batches.meta.txt` into the folder `dir`:
/// the whole folder or nothing.
///
/// # Errors
/// [`Error::Usage`] when `count` is not a multiple of 50 up to a million, or when `dir` holds something: `force`
/// replaces an earlier output of this function and never other files. [`Error::Io`] when the
/// disk refuses.
pub fn write(dir: &Path, count: usize, seed: u64, force: bool) -> Result<()> {
    if !(1..=MOST_IMAGES).contains(&count) || !count.is_multiple_of(BATCHES * SHAPES.len()) {
        let advice = "it must be a multiple of 50, so that classes and batches are even, and at most a million";
        return Err(Error::Usage(format!("count {count}: {advice}")));
    }
    let output = Output::claim(dir, &KIND, &[], force)?;
    output.make(|new| {
        files::create_folder(new)?;
        write_batches(new, count, seed)
    })
}

const KIND: output::Kind = output::Kind {
    name: "a synthetic data set alone",
    form: output::Form::Folder,
    existing: output::Existing::Kept,
    matches: is_synthetic,
};

fn write_batches(dir: &Path, count: usize, seed: u64) -> Result<()> {
    let train = records(seed, 0, count);
    let test = records(seed, TEST, count / BATCHES);
    for (name, batch) in train_names().zip(train.chunks(count / BATCHES)) {
        files::write_whole(&dir.join(name), &batch.concat())?;
    }
    files::write_whole(&dir.join(FORM.test), &test.concat())?;
    files::write_whole(&dir.join(FORM.names), names_text().as_bytes())
}

/// Content of the names file.
fn names_text() -> String {
    format!("{}\n", SHAPES.join("\n"))
}

/// `count` records of label and pixels; classes are even and in a random order.
fn records(seed: u64, first: u64, count: usize) -> Vec<Vec<u8>> {
    let labels = random::permutation(count, seed, "synthetic-labels", &[first]);
    (labels.par_iter().enumerate())
        .map(|(index, label)| {
            let label = (label % SHAPES.len()) as u8;
            let mut record = Vec::with_capacity(1 + IMAGE_BYTES);
            record.push(label);
            record.extend(draw(seed, first + index as u64, label));
            record
        })
        .collect()
}

fn train_names() -> impl Iterator<Item = String> {
    (1..=BATCHES).map(|number| FORM.train.replace('*', &number.to_string()))
}

/// Whether a folder holds what [`write`] wrote and nothing else. CIFAR-10 has the same files, but other class names.
fn is_synthetic(dir: &Path) -> Result<bool> {
    let own: Vec<String> = (train_names())
        .chain([FORM.test, FORM.names].map(String::from))
        .collect();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let name = entry.map_err(Error::io("read", dir))?.file_name();
        if !own.iter().any(|own| **own == *name.to_string_lossy()) {
            return Ok(false);
        }
    }
    let names = fs::read_to_string(dir.join(FORM.names)).unwrap_or_default();
    Ok(names == names_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, load};

    #[test]
    fn a_written_synthetic_set_loads_with_even_classes_and_is_the_same_on_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("new/a"), folder.path().join("b"));
        write(&a, 150, 4, false).unwrap();
        let one_thread = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        one_thread.install(|| write(&b, 150, 4, false)).unwrap();
        let data = load(&a, 0, None).unwrap();
        assert_eq!(data.source_hash, load(&b, 0, None).unwrap().source_hash);
        assert_eq!(data.len(), 180);
        for label in 0..SHAPES.len() as u8 {
            let count = |split: Split| {
                let of_label = data.split(split).iter().filter(|p| p.label == label);
                of_label.count()
            };
            assert_eq!(
                (count(Split::Train) + count(Split::Val), count(Split::Test)),
                (15, 3)
            );
        }
        assert!(
            !data.test.iter().map(|p| p.label).is_sorted(),
            "classes are mixed"
        );
        assert_eq!(
            fs::read_to_string(a.join(FORM.names))
                .unwrap()
                .lines()
                .count(),
            SHAPES.len()
        );
        // Nothing is left beside the folder.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(data.classes, SHAPES);
    }

    #[test]
    fn synthetic_images_depend_on_seed_index_and_label() {
        let image = draw(0, 0, 0);
        assert_eq!(image.len(), IMAGE_BYTES);
        assert_eq!(image, draw(0, 0, 0));
        let others = [(1, 0, 0), (0, 1, 0), (0, 0, 1)].map(|(seed, i, label)| draw(seed, i, label));
        assert!(others.iter().all(|other| *other != image));
        // Moderate contrast: hardly a byte lies at the end of its range.
        let clipped = (0..200)
            .flat_map(|i| draw(0, i, (i % 10) as u8))
            .filter(|b| matches!(b, 0 | 255));
        assert!(clipped.count() < 200 * IMAGE_BYTES / 10);
    }

    #[test]
    fn output_that_exists_is_replaced_only_when_forced_and_other_files_never() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("set");
        write(&dir, 50, 0, false).unwrap();
        let refused = |force| {
            let error = write(&dir, 50, 1, force).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{error}");
        };
        let batch = dir.join("data_batch_1.bin");
        let before = fs::read(&batch).unwrap();
        refused(false);
        assert_eq!(fs::read(&batch).unwrap(), before);
        write(&dir, 50, 1, true).unwrap();
        let after = fs::read(&batch).unwrap();
        assert_ne!(after, before);
        fs::write(dir.join("thesis.tex"), "years of work").unwrap();
        refused(true);
        assert!(dir.join("thesis.tex").exists());
        assert_eq!(fs::read(&batch).unwrap(), after);
        for count in [0, 49, 60] {
            assert!(matches!(
                write(&folder.path().join("x"), count, 0, false),
                Err(Error::Usage(_))
            ));
        }
        assert!(!folder.path().join("x").exists());
    }
}
