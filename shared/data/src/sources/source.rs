//! The image source trait, and the unsplit data set that a source reads.

use crate::Image;
use base::Result;

/// An image source: data of one form at a known path.
pub trait Source: std::fmt::Debug {
    /// Reads everything.
    ///
    /// # Errors
    /// [`base::Error::Data`] when the content is wrong, [`base::Error::Io`] when it cannot be read.
    fn read(&self) -> Result<RawDataset>;
}

/// The source at a path, if the path has that source's form.
pub type Opened = Result<Option<Box<dyn Source>>>;

/// All images of a source, in the source's own order, not split.
#[derive(Debug)]
pub struct RawDataset {
    /// The official training images.
    pub train: Vec<Image>,
    /// The official test images.
    pub test: Vec<Image>,
    /// Class names, by label.
    pub classes: Vec<String>,
}

impl RawDataset {
    /// Numbers the images of each part from 0, as their `source_index`.
    pub fn new(mut train: Vec<Image>, mut test: Vec<Image>, classes: Vec<String>) -> Self {
        for part in [&mut train, &mut test] {
            for (index, image) in (0..).zip(part) {
                image.source_index = index;
            }
        }
        Self {
            train,
            test,
            classes,
        }
    }
}
