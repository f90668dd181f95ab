//! Loading a classifier: from a safetensors file, or from the bytes and the metadata that a store keeps. The
//! metadata decide which architecture is built and how its input is normalized.

use std::path::Path;

use super::{Architecture, Metadata, Network, Normalization, Weights};
use crate::ComputeDevice;
use base::{Result, files};

/// A classifier and its metadata.
pub struct Loaded {
    /// The network, with its normalization.
    pub network: Box<dyn Network>,
    /// Its metadata, normalization included.
    pub metadata: Metadata,
    /// The file.
    pub bytes: Vec<u8>,
}

impl Loaded {
    /// Reads the classifier at `path`, normalized as `given` or as its metadata say.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(
        path: &Path,
        given: Option<Normalization>,
        device: impl Into<ComputeDevice>,
    ) -> Result<Self> {
        let what = path.display().to_string();
        Self::parse(&what, files::read(path)?, Metadata::new(), given, device)
    }

    /// The classifier of a file's bytes; `more` are metadata that are kept elsewhere and override the file's,
    /// `what` names it in errors.
    ///
    /// # Errors
    /// [`base::Error::Data`] for what is no classifier, [`base::Error::Usage`] when `given` contradicts the
    /// metadata.
    pub fn parse(
        what: &str,
        bytes: Vec<u8>,
        more: Metadata,
        given: Option<Normalization>,
        device: impl Into<ComputeDevice>,
    ) -> Result<Self> {
        let (weights, mut metadata) = Weights::parse(what, &bytes, device)?;
        metadata.extend(more);
        let normalization = Normalization::resolve(given, what, &metadata)?;
        if let Some(normalization) = normalization {
            normalization.write(&mut metadata);
        }
        let mut network = Architecture::from_metadata(what, &metadata)?.load(what, weights)?;
        network.describe().check_metadata(what, &metadata)?;
        network.set_normalization(normalization)?;
        Ok(Self {
            network,
            metadata,
            bytes,
        })
    }
}
