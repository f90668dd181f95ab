//! CIFAR-10 pictures: any of three sources comes in, a seeded split of labelled bytes goes out.

/// Bytes of one picture: 3x32x32, planar R, G, B, row-major.
pub const PIXELS: usize = 3 * 32 * 32;

/// Classes, labels 0 to 9.
pub const CLASSES: usize = 10;

/// The three parts of a data set: 45,000, 5,000 and 10,000 pictures of the real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// What nets learn from.
    Train,
    /// A tenth of the official training pictures: the paper's test set.
    Val,
    /// The official test pictures.
    Test,
}

/// One labelled picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Position among the source's training pictures (`Train`, `Val`) or test pictures (`Test`).
    pub source_index: u32,
    /// Class, 0 to 9.
    pub label: u8,
    /// [`PIXELS`] bytes.
    pub pixels: Box<[u8]>,
}
