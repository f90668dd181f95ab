//! Table of published data sets: class names, batch files, downloads.

use crate::formats::{BatchFormat, Binary, PickledBatch};

/// The data sets whose published files are read; one row is all that a further one of a known format takes.
pub const DATASETS: &[DatasetSpec] = &[CIFAR10, CIFAR100];

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
    forms: &[
        PublishedForm {
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
        },
        PublishedForm {
            folder: "cifar-10-batches-py",
            train: "data_batch_*",
            test: "test_batch",
            names: "batches.meta",
            format: &PickledBatch {
                labels: "labels",
                names: "label_names",
            },
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            sha256: "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        },
    ],
};

/// CIFAR-100 (<https://www.cs.toronto.edu/~kriz/cifar.html>) with its fine labels.
pub const CIFAR100: DatasetSpec = DatasetSpec {
    name: "CIFAR-100",
    classes: &[
        "apple",
        "aquarium_fish",
        "baby",
        "bear",
        "beaver",
        "bed",
        "bee",
        "beetle",
        "bicycle",
        "bottle",
        "bowl",
        "boy",
        "bridge",
        "bus",
        "butterfly",
        "camel",
        "can",
        "castle",
        "caterpillar",
        "cattle",
        "chair",
        "chimpanzee",
        "clock",
        "cloud",
        "cockroach",
        "couch",
        "crab",
        "crocodile",
        "cup",
        "dinosaur",
        "dolphin",
        "elephant",
        "flatfish",
        "forest",
        "fox",
        "girl",
        "hamster",
        "house",
        "kangaroo",
        "keyboard",
        "lamp",
        "lawn_mower",
        "leopard",
        "lion",
        "lizard",
        "lobster",
        "man",
        "maple_tree",
        "motorcycle",
        "mountain",
        "mouse",
        "mushroom",
        "oak_tree",
        "orange",
        "orchid",
        "otter",
        "palm_tree",
        "pear",
        "pickup_truck",
        "pine_tree",
        "plain",
        "plate",
        "poppy",
        "porcupine",
        "possum",
        "rabbit",
        "raccoon",
        "ray",
        "road",
        "rocket",
        "rose",
        "sea",
        "seal",
        "shark",
        "shrew",
        "skunk",
        "skyscraper",
        "snail",
        "snake",
        "spider",
        "squirrel",
        "streetcar",
        "sunflower",
        "sweet_pepper",
        "table",
        "tank",
        "telephone",
        "television",
        "tiger",
        "tractor",
        "train",
        "trout",
        "tulip",
        "turtle",
        "wardrobe",
        "whale",
        "willow_tree",
        "wolf",
        "woman",
        "worm",
    ],
    forms: &[
        PublishedForm {
            folder: "cifar-100-binary",
            train: "train.bin",
            test: "test.bin",
            names: "fine_label_names.txt",
            // The coarse label, then the fine one.
            format: &Binary {
                label_bytes: 2,
                label: 1,
            },
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        },
        PublishedForm {
            folder: "cifar-100-python",
            train: "train",
            test: "test",
            names: "meta",
            format: &PickledBatch {
                labels: "fine_labels",
                names: "fine_label_names",
            },
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            sha256: "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        },
    ],
};
