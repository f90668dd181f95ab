//! Seeded split of a source's images into `train`, `val` and `test`.
//!
//! The split depends on the images' order, the seed and the limit, never on the source's form.

use std::path::Path;

use crate::{
    Image, Split,
    sources::{self, RawDataset},
};
use base::{Error, Result, random};

/// A data set, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The file's or folder's name, without `.tar.gz`; nothing depends on it.
    pub name: String,
    /// Class names, by label.
    pub classes: Vec<String>,
    /// BLAKE3 of label and pixels of all the source's images, training then test, as hex:
    /// the same for every form, seed and limit.
    pub source_hash: String,
    /// How many training images the source has, train and val together, without a limit.
    pub source_train: usize,
    /// The images that models are trained on, in a seeded order.
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

    /// Number of images of `val` that are training images under another seed.
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
    pub fn images(&self) -> impl Iterator<Item = (u64, Split, &Image)> {
        let splits = Split::ALL.into_iter();
        let images = splits.flat_map(|split| self.split(split).iter().map(move |i| (split, i)));
        (0..)
            .zip(images)
            .map(|(id, (split, image))| (id, split, image))
    }
}

/// Reads the data at `path`, a folder or an archive of batch files or an image folder, and splits it by `seed`: the
/// last tenth of the permuted training images is `val`.
///
/// A `limit` N (a multiple of the number of classes) keeps N class-balanced images of `train`, and a fifth as many
/// of `val` and of `test`, rounded down for each class, or as many of each class as the rarest has.
///
/// # Errors
/// [`Error::Io`] when the path cannot be read, [`Error::Data`] when the content is wrong,
/// [`Error::Usage`] when the limit cannot be met.
pub fn load(path: &Path, seed: u64, limit: Option<usize>) -> Result<Dataset> {
    let RawDataset {
        train,
        mut test,
        classes,
    } = sources::find(path)?.read()?;
    let count = classes.len();
    if let Some(limit) = limit.filter(|&limit| limit == 0 || !limit.is_multiple_of(count)) {
        return Err(Error::Usage(format!(
            "limit {limit}: it must be a multiple of {count}, and at least {count}, so that classes are balanced"
        )));
    }
    let source_train = train.len();
    let source_hash = hash(&train, &test);
    let mut train = permuted(train, seed, "split");
    let mut val = train.split_off(train.len() - train.len() / 10);
    if let Some(limit) = limit {
        let per_class = limit / count;
        let available = rarest(&train, count);
        if available < per_class {
            return Err(Error::Usage(format!(
                "limit {limit} asks for {per_class} training images of each class: the rarest has {available}"
            )));
        }
        let held_out = per_class / 5;
        train = balanced(train, count, per_class);
        val = balanced(val, count, held_out);
        test = balanced(permuted(test, seed, "split-test"), count, held_out);
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

fn permuted(images: Vec<Image>, seed: u64, purpose: &str) -> Vec<Image> {
    let mut slots: Vec<Option<Image>> = images.into_iter().map(Some).collect();
    let order = random::permutation(slots.len(), seed, purpose, &[]);
    // A permutation takes every slot once.
    order
        .into_iter()
        .filter_map(|index| slots[index].take())
        .collect()
}

/// Number of images of the rarest class.
fn rarest(images: &[Image], classes: usize) -> usize {
    let mut counts = vec![0; classes];
    for image in images {
        counts[usize::from(image.label)] += 1;
    }
    counts.into_iter().min().unwrap_or(0)
}

/// The first `per_class` images of each class, or as many as the rarest has, in their order.
fn balanced(images: Vec<Image>, classes: usize, per_class: usize) -> Vec<Image> {
    let mut left = vec![per_class.min(rarest(&images, classes)); classes];
    (images.into_iter())
        .filter(|image| {
            let left = &mut left[usize::from(image.label)];
            let keep = *left > 0;
            *left -= usize::from(keep);
            keep
        })
        .collect()
}

/// BLAKE3 of label and pixels of every image, as hex.
fn hash(train: &[Image], test: &[Image]) -> String {
    let mut hasher = blake3::Hasher::new();
    for image in train.iter().chain(test) {
        hasher.update(&[image.label]).update(&image.pixels);
    }
    hasher.finalize().to_hex().to_string()
}

/// The name of a data set that was read from `path`.
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
