//! Packing: a complete store into a smaller file.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::{super::reader::Store, BLOCK_IMAGES, MAGIC, PackedHeader, VERSION, block::Block};
use base::{Error, Result};
use data::Split;

/// Of zstd: higher levels take much longer and save little on what is close to noise.
const COMPRESSION_LEVEL: i32 = 6;

/// Bytes of a store and of its packed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedSize {
    /// Of the store.
    pub store: u64,
    /// Of the packed file.
    pub packed: u64,
}

/// Packs a store into `out`. After every block, `progress` is called with its number of images; an error
/// that it returns ends the work.
///
/// # Errors
/// As [`Store::for_each`]; [`Error::Io`] when `out` cannot be written, which is then not whole.
pub fn pack(
    store: &Store,
    out: &Path,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<PackedSize> {
    store.check_complete()?;
    let spec = store.spec()?;
    let header = PackedHeader {
        device: store.meta().device.clone(),
        content_hash: store.meta().content_hash.clone().unwrap_or_default(),
        warnings: store.meta().warnings.clone(),
        spec,
    };
    let failed = |reason: io::Error| Error::io("write", out)(reason);
    let mut file = File::create(out).map_err(failed)?;
    file.write_all(MAGIC).map_err(failed)?;
    file.write_all(&[VERSION]).map_err(failed)?;
    let mut stream = zstd::Encoder::new(&mut file, COMPRESSION_LEVEL).map_err(failed)?;
    stream.include_checksum(true).map_err(failed)?;
    let json = serde_json::to_vec(&header)
        .map_err(|reason| Error::invalid(&store.file, format!("no JSON: {reason}")))?;
    for part in [&json, &header.spec.model.weights] {
        let len = (part.len() as u64).to_le_bytes();
        stream.write_all(&len).map_err(failed)?;
        stream.write_all(part).map_err(failed)?;
    }
    for split in Split::ALL {
        let mut block = Block::default();
        let mut write = |block: &mut Block| -> Result<()> {
            let block = std::mem::take(block);
            block.write(&mut stream).map_err(failed)?;
            progress(block.images.len() as u64)
        };
        store.for_each(split, |image, samples| {
            block.images.push(image);
            block.samples.push(samples);
            if block.images.len() < BLOCK_IMAGES {
                Ok(())
            } else {
                write(&mut block)
            }
        })?;
        if !block.images.is_empty() {
            write(&mut block)?;
        }
    }
    stream.finish().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(PackedSize {
        store: store.file.len()?,
        packed: fs::metadata(out).map_err(Error::io("read", out))?.len(),
    })
}
