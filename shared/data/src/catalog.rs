//! Table of published data sets: class names, batch files, downloads.

use crate::formats::{BatchFormat, Binary};

/// The data sets whose published files are read; one row is all that a further one of a known format takes.
pub const DATASETS: &[DatasetSpec] = &[CIFAR10];

/// A published data set.
#[derive(Clone, Copy, Debug)]
pub struct DatasetSpec {
    /// Its name.
    pub name: &'static str,
    /// Class names, by label.
    pub classes: &'static [&'static str],
    /// The forms it is published in, with the same images in the same order.
    pub forms: &'static [PublishedForm],
}

/// One published form of a data set: a `.tar.gz` with one folder of batch files.
#[derive(Clone, Copy, Debug)]
pub struct PublishedForm {
    /// Folder in the archive.
    pub folder: &'static str,
    /// Training batches; `*` stands for the numbers 1, 2, ...
    pub train: &'static str,
    /// Test batch.
    pub test: &'static str,
    /// File of the class names.
    pub names: &'static str,
    /// Encoding of these files.
    pub(crate) format: &'static dyn BatchFormat,
    /// Address of the archive.
    pub url: &'static str,
    /// SHA-256 of the archive.
    pub sha256: &'static str,
}

impl PublishedForm {
    /// File name of the archive.
    pub fn archive(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// CIFAR-10 (<https://www.cs.toronto.edu/~kriz/cifar.html>).
pub const CIFAR10: DatasetSpec = DatasetSpec {
    name: "CIFAR-10",
    classes: &[
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
    ],
    forms: &[PublishedForm {
        folder: "cifar-10-batches-bin",
        train: "data_batch_*.bin",
        test: "test_batch.bin",
        names: "batches.meta.txt",
        format: &Binary {
            label_bytes: 1,
            label: 0,
        },
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    }],
};
