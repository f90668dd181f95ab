//! Table of image sources, and the search for the one at a path.

mod batch_archive;
mod batch_files;
mod batch_folder;
mod foreign;
mod image_folder;
mod source;

use std::path::Path;

use crate::DATASETS;
use base::{Error, Result};

pub use source::{Opened, RawDataset, Source};

/// One row of the table of image sources.
struct SourceKind {
    /// Form on disk, for the message when nothing fits.
    description: fn() -> String,
    /// The source at a path, if the path has this form.
    open: fn(&Path) -> Opened,
}

/// The image sources, in the order in which they are tried.
const SOURCES: [SourceKind; 3] = [
    SourceKind {
        description: || {
            let folders = names(|form| format!("{}/ ({}, {})", form.folder, form.train, form.test));
            format!("a folder of batch files such as {folders}")
        },
        open: batch_folder::open,
    },
    SourceKind {
        description: || format!("an archive of one: {}", names(|form| form.archive().into())),
        open: batch_archive::open,
    },
    SourceKind {
        description: || {
            "a folder with train/<class>/ and test/<class>/ of PNG or JPEG images".into()
        },
        open: image_folder::open,
    },
];

/// The source at `path`.
///
/// # Errors
/// [`Error::Io`] when there is nothing at `path`, [`Error::Data`] when no source reads it.
pub fn find(path: &Path) -> Result<Box<dyn Source>> {
    std::fs::metadata(path).map_err(Error::io("read", path))?;
    let open = || {
        let mut sources = SOURCES.iter();
        sources.find_map(|source| (source.open)(path).transpose())
    };
    // In a folder that a source reads, other files do not matter.
    let opened = if path.is_dir() { open() } else { None };
    if let Some(Ok(source)) = opened {
        return Ok(source);
    }
    if let Some(found) = foreign::recognize(path)? {
        return Err(unsupported(path, &found));
    }
    opened
        .or_else(open)
        .unwrap_or_else(|| Err(unsupported(path, "none of these")))
}

/// Refusal of `found`, with all forms that are read.
fn unsupported(path: &Path, found: &str) -> Error {
    let expected = SOURCES.map(|source| (source.description)()).join("; or ");
    Error::data(path.display(), found, expected)
}

/// A name of every published form, separated by commas.
fn names(name: fn(&crate::PublishedForm) -> String) -> String {
    let forms = DATASETS.iter().flat_map(|spec| spec.forms);
    forms.map(name).collect::<Vec<_>>().join(", ")
}
