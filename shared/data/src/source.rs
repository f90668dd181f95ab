//! Where images come from: a path comes in, the source that recognizes it goes out.

use std::path::Path;

use super::{Image, archive, folder, foreign, images};
use base::{Error, Result};

/// All images of a source, in the source's own order.
#[derive(Debug)]
pub struct RawDataset {
    /// The official training images.
    pub train: Vec<Image>,
    /// The official test images.
    pub test: Vec<Image>,
    /// What the labels mean, [`super::CLASSES`] names.
    pub classes: Vec<String>,
}

/// A form the data can have on disk.
pub trait Source {
    /// Reads everything.
    ///
    /// # Errors
    /// [`Error::Data`] when the content is not what it should be.
    fn read(&self) -> Result<RawDataset>;
}

/// One row of the table of forms.
struct Form {
    /// What it looks like on disk, for the message when nothing fits.
    looks: &'static str,
    /// The source at a path, if the path looks like this form.
    open: fn(&Path) -> Option<Box<dyn Source>>,
}

const FORMS: [Form; 3] = [
    Form {
        looks: "a folder with data_batch_1.bin, ... and test_batch.bin",
        open: folder::open,
    },
    Form {
        looks: "the official cifar-10-binary.tar.gz",
        open: archive::open,
    },
    Form {
        looks: "a folder with train/<class>/ and test/<class>/ of PNG or JPEG images",
        open: images::open,
    },
];

/// The source at `path`.
///
/// # Errors
/// [`Error::Io`] when there is nothing at `path`, [`Error::Data`] when it is none of the forms.
pub fn find(path: &Path) -> Result<Box<dyn Source>> {
    std::fs::metadata(path).map_err(Error::io("read", path))?;
    if let Some(found) = foreign::recognize(path)? {
        return Err(unread(path, &found));
    }
    (FORMS.iter().find_map(|form| (form.open)(path))).ok_or_else(|| unread(path, "none of these"))
}

/// What is there cannot be read; what could be is said.
pub fn unread(path: &Path, found: &str) -> Error {
    Error::data(
        path.display(),
        found,
        FORMS.map(|form| form.looks).join("; or "),
    )
}
