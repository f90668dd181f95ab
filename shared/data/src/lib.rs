//! CIFAR-10 images: any of three sources comes in, a seeded split of labeled bytes goes out.
#![forbid(unsafe_code)]

mod archive;
mod batches;
mod classes;
mod dataset;
mod folder;
mod foreign;
mod images;
pub mod sheet;
mod source;
pub mod synthetic;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

pub use classes::check_class_names;
pub use dataset::{Dataset, load};

/// Bytes of one image: 3x32x32, planar R, G, B, row-major.
pub const IMAGE_BYTES: usize = 3 * 32 * 32;

/// Classes, labels 0 to 9.
pub const CLASSES: usize = 10;

/// What the labels 0 to 9 mean in CIFAR-10.
pub const CLASS_NAMES: [&str; CLASSES] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// The three parts of a data set: 45,000, 5,000 and 10,000 images of the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// What models learn from.
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
    /// Class, 0 to 9.
    pub label: u8,
    /// [`PIXELS`] bytes.
    pub pixels: Box<[u8]>,
}
