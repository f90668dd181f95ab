//! A classifier from a file or from a store: bytes of a safetensors file and, where it is known, the
//! normalization; the network and what its header says of it.

use std::path::Path;

use candle_core::Device;

use super::{Metadata, Normalization, ResNet34, Weights};
use base::{Result, files};

/// A classifier and its header.
pub struct Loaded {
    /// The network, with its normalization.
    pub net: ResNet34,
    /// Its metadata, normalization included.
    pub metadata: Metadata,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Reads the classifier at `path`, normalized as `given` or its header says.
///
/// # Errors
/// [`base::Error::Data`] for what is no classifier, [`base::Error::Usage`] when `given` contradicts the
/// header.
pub fn read(path: &Path, given: Option<Normalization>, device: &Device) -> Result<Loaded> {
    let bytes = files::read(path)?;
    parse(
        &path.display().to_string(),
        bytes,
        Metadata::new(),
        given,
        device,
    )
}

/// The classifier of these bytes; `more` is known beside their header and outweighs it, `what` names them.
///
/// # Errors
/// As [`read`].
pub fn parse(
    what: &str,
    bytes: Vec<u8>,
    more: Metadata,
    given: Option<Normalization>,
    device: &Device,
) -> Result<Loaded> {
    let (weights, mut metadata) = Weights::parse(what, &bytes, device)?;
    metadata.extend(more);
    let normalization = Normalization::resolve(given, what, &metadata)?;
    if let Some(normalization) = normalization {
        normalization.write(&mut metadata);
    }
    let net = ResNet34::new(what, weights)?.normalized(normalization)?;
    Ok(Loaded {
        net,
        metadata,
        bytes,
    })
}
