//! The form for transport: a complete store comes in, a smaller file goes out; the packed file comes
//! in, a store of the same content goes out.
//!
//! The file is eight letters, a version, and one zstd frame with a checksum: a header as JSON, the
//! surrogate's weights, and the images in blocks, column by column. A variant is stored as its
//! bytes' differences to the clean image, modulo 256: most attacks change little, so these are
//! nearly all the same few numbers. Nothing the file says is believed: it is read into a new store,
//! whose content hash must be the one that the header promises.

mod block;
mod input;

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use self::{block::Block, input::ArchiveReader};
use super::{header, meta::BuildSpec, open, reader::Store, writer::Writer};
use base::{Error, Result, files, progress::Progress, signal::Stop};
use data::Split;

/// What a packed file begins with.
pub(super) const MAGIC: &[u8; 8] = b"mithpack";
const VERSION: u8 = 2;
/// Of zstd: more take much longer and save little on what is close to noise.
const LEVEL: i32 = 6;
/// Images of a block.
const BLOCK: usize = 512;
/// The longest header and the longest weights that are read.
const HEADER: u64 = 1 << 20;
const WEIGHTS: u64 = 1 << 32;

/// What is known before the images.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Without the surrogate's weights.
    identity: BuildSpec,
    device: String,
    content_hash: String,
    warnings: Vec<String>,
}

/// Packs the store at `db` into `out`; returns the bytes of both.
///
/// # Errors
/// As [`Store::open`] and [`Store::for_each`]; [`Error::Io`] when `out` cannot be written. `out` is
/// whole or not there.
pub fn pack(db: &Path, out: &Path, stop: &Stop) -> Result<(u64, u64)> {
    let store = Store::open(db)?;
    let identity = store.identity()?;
    let failed = |reason: io::Error| Error::io("write", out)(reason);
    let header = Header {
        device: store.meta().device.clone(),
        content_hash: store.meta().content_hash.clone().unwrap_or_default(),
        warnings: store.meta().warnings.clone(),
        identity,
    };
    let identity = &header.identity;
    let mut bar = Progress::new("packing", identity.images.iter().sum());
    files::write_through(out, |file| {
        file.write_all(MAGIC).map_err(failed)?;
        file.write_all(&[VERSION]).map_err(failed)?;
        let mut stream = zstd::Encoder::new(file, LEVEL).map_err(failed)?;
        stream.include_checksum(true).map_err(failed)?;
        let header = serde_json::to_vec(&header)
            .map_err(|reason| Error::data(db.display(), reason, "what JSON can say"))?;
        for part in [&header, &identity.model.weights] {
            let len = (part.len() as u64).to_le_bytes();
            stream.write_all(&len).map_err(failed)?;
            stream.write_all(part).map_err(failed)?;
        }
        for split in Split::ALL {
            let mut block = Block::default();
            let mut write = |block: &mut Block| -> Result<()> {
                stop.check("the same command begins anew")?;
                block.write(&mut stream).map_err(failed)?;
                bar.add(block.images.len() as u64, "");
                *block = Block::default();
                Ok(())
            };
            store.for_each(split, |image, samples| {
                block.images.push(image);
                block.samples.push(samples);
                match block.images.len() < BLOCK {
                    true => Ok(()),
                    false => write(&mut block),
                }
            })?;
            if !block.images.is_empty() {
                write(&mut block)?;
            }
        }
        stream.finish().map_err(failed)?;
        Ok(())
    })?;
    bar.finish();
    let packed = std::fs::metadata(out)
        .map_err(Error::io("read", out))?
        .len();
    Ok((store.bytes()?, packed))
}

/// Makes the store that the packed file at `from` holds, at `out`, and returns its content hash.
///
/// # Errors
/// [`Error::Data`] when the file is not whole, not one of these, or does not hold what it promises;
/// nothing is left at `out` then.
pub fn unpack(from: &Path, out: &Path, stop: &Stop) -> Result<String> {
    files::check_is_file(from)?;
    let mut file = BufReader::new(File::open(from).map_err(Error::io("read", from))?);
    let mut input = ArchiveReader::new(from, &mut file);
    let start: [u8; MAGIC.len() + 1] = input.array()?;
    if start[..MAGIC.len()] != *MAGIC || start[MAGIC.len()] != VERSION {
        let expected = format!("a packed store of version {VERSION}");
        return Err(Error::data(from.display(), "other bytes", expected));
    }
    let frame = zstd::Decoder::with_buffer(file).map_err(Error::io("read", from))?;
    let mut input = ArchiveReader::new(from, frame.single_frame());
    let header = input.sized(HEADER, "header")?;
    let header: Header = serde_json::from_slice(&header).map_err(|reason| {
        Error::data(
            format!("{}: header", from.display()),
            reason,
            "a packed store's",
        )
    })?;
    let Header {
        mut identity,
        device,
        content_hash: promised,
        warnings,
    } = header;
    identity.model.weights = input.sized(WEIGHTS, "weights")?;

    let partial = files::partial(out);
    Writer::remove(&partial)?;
    let make = || {
        let mut writer = Writer::create_or_resume(&partial, &identity, &device)?;
        fill(&mut writer, &identity, &mut input, stop)?;
        ArchiveReader::new(from, input.stream.finish()).end()?;
        writer.note_warnings(&warnings)?;
        let hash = writer.finish()?;
        if hash != promised {
            let what = format!("{}: content hash", from.display());
            return Err(Error::data(what, hash, promised));
        }
        Ok(hash)
    };
    let made = make();
    match made {
        Ok(hash) => {
            // Of a store that is replaced: with the new one's name it would be played back into it.
            files::remove(&header::journal(out))?;
            files::rename(&partial, out).map(|()| hash)
        }
        Err(error) => {
            let error = error.renamed(&open::real(&partial)?, from);
            Writer::remove(&partial)?;
            Err(error)
        }
    }
}

fn fill(
    writer: &mut Writer,
    identity: &BuildSpec,
    input: &mut ArchiveReader<impl Read>,
    stop: &Stop,
) -> Result<()> {
    let attacks: Vec<i64> = identity.attacks.iter().map(|attack| attack.id).collect();
    let mut bar = Progress::new("unpacking", identity.images.iter().sum());
    for split in Split::ALL {
        let mut left = identity.images[split as usize];
        while left > 0 {
            stop.check("the same command begins anew")?;
            let count = left.min(BLOCK as u64);
            let (images, samples) = Block::read(input, split, count as usize, &attacks)?;
            writer.insert(&images, &samples)?;
            bar.add(count, "");
            left -= count;
        }
    }
    bar.finish();
    input.end()
}
