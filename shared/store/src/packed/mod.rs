//! Packed stores: a zstd-compressed form of a complete store for transport.
//!
//! The file is eight letters, a version, and one zstd frame with a checksum: a header as JSON, the
//! surrogate's weights, and the images in blocks, column by column. A sample is stored as the difference
//! of its bytes to the clean image's, modulo 256: most attacks change little, so these are nearly all the
//! same few numbers. Nothing in the file is trusted: it is read into a new store, whose content hash must
//! be that of the header.

mod block;
mod pack;
mod reader;
mod unpack;

use serde::{Deserialize, Serialize};

pub use self::{
    pack::{PackedSize, pack},
    unpack::PackedStore,
};
use super::spec::BuildSpec;

/// What a packed file begins with.
pub(super) const MAGIC: &[u8; 8] = b"mithpack";
const VERSION: u8 = 2;
/// Images of a block.
const BLOCK_IMAGES: usize = 512;

/// Everything before the weights and the images.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackedHeader {
    /// Without the surrogate's weights.
    #[serde(rename = "identity")]
    spec: BuildSpec,
    device: String,
    content_hash: String,
    warnings: Vec<String>,
}
