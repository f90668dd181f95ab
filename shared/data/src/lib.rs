//! Data sets of labeled 32x32 images: published sets, image sources, seeded splits, synthetic images, corruptions and
//! contact sheets.
//!
//! [`load`] finds the image source at a path (`sources`), which decodes batch files by their format (`formats`) or
//! image files, and splits what it reads. Class names and count are data: those of a published set are in
//! [`DATASETS`], those of an image folder are its folders' names. [`npy`] reads test sets that are published as NumPy
//! arrays, [`corruptions`] computes those of CIFAR-10-C.
#![forbid(unsafe_code)]

mod catalog;
mod class_names;
pub mod corruptions;
mod dataset;
mod formats;
mod layout;
pub mod sheet;
mod sources;
mod subset;
pub mod synthetic;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

pub use catalog::{CIFAR10, CIFAR100, DATASETS, DatasetSpec, PublishedForm};
pub use class_names::{MAX_CLASSES, check_class_names};
pub use dataset::{Dataset, load};
pub use formats::npy;
pub use layout::{interleaved, planar};
pub use subset::balanced_subset;

/// Width and height of an image.
pub const IMAGE_SIDE: usize = 32;

/// Bytes of one image: 3x32x32, planar R, G, B, row-major.
pub const IMAGE_BYTES: usize = 3 * IMAGE_SIDE * IMAGE_SIDE;

/// The three parts of a data set: 45,000, 5,000 and 10,000 images of CIFAR-10 and CIFAR-100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// The images that models are trained on.
    Train,
    /// A tenth of the official training images: the paper's test set.
    Val,
    /// The official test images.
    Test,
}

impl Split {
    /// Every split, in the order of the image ids.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// The name in stores and on command lines: `train`, `val`, `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|split| split.name() == text)
            .ok_or_else(|| format!("'{text}' is none of train, val, test"))
    }
}

/// One labeled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Position among the source's training images (`Train`, `Val`) or test images (`Test`).
    pub source_index: u32,
    /// Class, from 0.
    pub label: u8,
    /// [`IMAGE_BYTES`] bytes.
    pub pixels: Box<[u8]>,
}

/// An adversarial sample of an image, as a store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// [`IMAGE_BYTES`] bytes.
    pub pixels: Vec<u8>,
    /// The model's prediction on these bytes.
    pub pred: u8,
    /// The model's prediction on the clipped floats, before quantization.
    pub pred_float: u8,
    /// L2 distance of the bytes to the clean bytes, in `[0,1]` units.
    pub l2: f64,
    /// Linf distance of the bytes to the clean bytes, in `[0,1]` units.
    pub linf: f64,
    /// Steps that the attack took.
    pub steps: u32,
}
