//! The seeded split: all images of a source come in, `train`, `val` and `test` go out.
//!
//! The split depends on the images' order, the seed and the limit, never on the source's form.

use std::path::Path;

use super::{
    CLASSES, Image, Split,
    source::{self, RawDataset},
};
use base::{Error, Result, random};

/// A data set, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The file's or folder's name, without `.tar.gz`: for people alone.
    pub name: String,
    /// What the labels mean, from 0.
    pub classes: Vec<String>,
    /// BLAKE3 of label and pixels of all the source's images, training then test, as hex:
    /// the same for every form, seed and limit.
    pub source_hash: String,
    /// How many training images the source has, train and val together, without a limit.
    pub source_train: usize,
    /// What models learn from, in a seeded order.
    pub train: Vec<Image>,
    /// A tenth of the source's training images, in a seeded order.
    pub val: Vec<Image>,
    /// The source's test images.
    pub test: Vec<Image>,
}

impl Dataset {
    /// The images of a split.
    pub fn split(&self, split: Split) -> &[Image] {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
        }
    }

    /// How many images of `val` are training images under another seed.
    pub fn val_trained_on(&self, seed: u64) -> usize {
        let order = random::permutation(self.source_train, seed, "split", &[]);
        let trained = &order[..order.len() - order.len() / 10];
        let trained: std::collections::HashSet<usize> = trained.iter().copied().collect();
        let is_trained = |image: &&Image| trained.contains(&(image.source_index as usize));
        self.val.iter().filter(is_trained).count()
    }

    /// Images in all splits.
    pub fn len(&self) -> usize {
        Split::ALL.map(|split| self.split(split).len()).iter().sum()
    }

    /// Whether there is no image at all, which [`load`] never returns.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every image with its id, the position in train ++ val ++ test.
    pub fn pictures(&self) -> impl Iterator<Item = (u64, Split, &Image)> {
        let splits = (Split::ALL.into_iter()).flat_map(|split| {
            self.split(split)
                .iter()
                .map(move |picture| (split, picture))
        });
        (0..)
            .zip(splits)
            .map(|(id, (split, picture))| (id, split, picture))
    }
}

/// Reads the data at `path`, a folder of batches, the official archive or an image folder, and
/// splits it by `seed`: the last tenth of the permuted training images is `val`.
///
/// A `limit` N (a multiple of 10) keeps N class-balanced images of `train`, and of `val` and
/// `test` N/50 for each class or as many as the rarest class has.
///
/// # Errors
/// [`Error::Io`] when the path cannot be read, [`Error::Data`] when the content is wrong,
/// [`Error::Usage`] when the limit cannot be met.
pub fn load(path: &Path, seed: u64, limit: Option<usize>) -> Result<Dataset> {
    if let Some(limit) = limit.filter(|&limit| limit < CLASSES || limit % CLASSES != 0) {
        let advice = "it must be a multiple of 10, and at least 10, so that classes are balanced";
        return Err(Error::Usage(format!("limit {limit}: {advice}")));
    }
    let RawDataset {
        train,
        test,
        classes,
    } = source::find(path)?.read()?;
    let source_train = train.len();
    let source_hash = hash(&train, &test);
    let mut train = permuted(train, seed, "split");
    let mut val = train.split_off(train.len() - train.len() / 10);
    let mut test = test;
    if let Some(limit) = limit {
        let available = rarest(&train);
        if available < limit / CLASSES {
            return Err(Error::Usage(format!(
                "limit {limit} asks for {} training images of each class: the rarest has {available}",
                limit / CLASSES
            )));
        }
        let held_out = limit / 50;
        train = balanced(train, limit / CLASSES);
        val = balanced(val, held_out);
        test = balanced(permuted(test, seed, "split-test"), held_out);
    }
    Ok(Dataset {
        name: name(path),
        classes,
        source_hash,
        source_train,
        train,
        val,
        test,
    })
}

fn permuted(pictures: Vec<Image>, seed: u64, purpose: &str) -> Vec<Image> {
    let mut slots: Vec<Option<Image>> = pictures.into_iter().map(Some).collect();
    let order = random::permutation(slots.len(), seed, purpose, &[]);
    // A permutation takes every slot once.
    order
        .into_iter()
        .filter_map(|index| slots[index].take())
        .collect()
}

/// How many images the rarest class has.
fn rarest(pictures: &[Image]) -> usize {
    let mut counts = [0; CLASSES];
    for picture in pictures {
        counts[usize::from(picture.label)] += 1;
    }
    counts.into_iter().min().unwrap_or(0)
}

/// The first `each` images of each class, or as many as the rarest has, in their order.
fn balanced(pictures: Vec<Image>, each: usize) -> Vec<Image> {
    let mut left = [each.min(rarest(&pictures)); CLASSES];
    (pictures.into_iter())
        .filter(|picture| {
            let left = &mut left[usize::from(picture.label)];
            let keep = *left > 0;
            *left -= usize::from(keep);
            keep
        })
        .collect()
}

fn hash(train: &[Image], test: &[Image]) -> String {
    let mut hasher = blake3::Hasher::new();
    for picture in train.iter().chain(test) {
        hasher.update(&[picture.label]).update(&picture.pixels);
    }
    hasher.finalize().to_hex().to_string()
}

fn name(path: &Path) -> String {
    // `.` and `..` have no name of their own.
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = whole
        .file_name()
        .unwrap_or(whole.as_os_str())
        .to_string_lossy();
    (name.strip_suffix(".tar.gz"))
        .or_else(|| name.strip_suffix(".tgz"))
        .unwrap_or(&name)
        .to_string()
}
