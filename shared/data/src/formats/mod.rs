//! Formats of batch files: the trait, and one file per format; and NumPy arrays, which are no batch files.

mod binary;
pub mod npy;
mod pickle;

use crate::{IMAGE_BYTES, Image};
use base::{Error, Result};

pub use binary::Binary;
pub use pickle::PickledBatch;

/// Decoder of one format of batch files.
pub trait BatchFormat: std::fmt::Debug + Sync {
    /// Labeled images of a batch file, their `source_index` not yet set. Labels are below `classes`; `what` is the
    /// file in messages.
    ///
    /// # Errors
    /// [`Error::Data`] when the content is wrong.
    fn images(&self, what: &str, bytes: &[u8], classes: usize) -> Result<Vec<Image>>;

    /// Class names in the form's names file.
    ///
    /// # Errors
    /// [`Error::Data`] when the content is wrong.
    fn class_names(&self, what: &str, bytes: &[u8]) -> Result<Vec<String>>;

    /// A batch file of these images, for tests.
    #[cfg(test)]
    fn encode(&self, images: &[Image]) -> Vec<u8>;

    /// A names file of these classes, for tests.
    #[cfg(test)]
    fn encode_names(&self, names: &[String]) -> Vec<u8>;
}

/// The image of record number `record`, with a checked label. `pixels` are [`IMAGE_BYTES`] bytes.
fn image(what: &str, record: usize, label: i64, pixels: &[u8], classes: usize) -> Result<Image> {
    debug_assert_eq!(pixels.len(), IMAGE_BYTES);
    match u8::try_from(label) {
        Ok(label) if usize::from(label) < classes => Ok(Image {
            source_index: 0,
            label,
            pixels: pixels.into(),
        }),
        _ => Err(Error::data(
            format!("{what}, record {record}"),
            format!("label {label}"),
            format!("0 to {}", classes - 1),
        )),
    }
}
