//! NumPy's `.npz`: a zip of `.npy` arrays, streamed image by image.
//!
//! The header of an array is written here: npyz, the crate for it, needs a zip library of 2022 beside ours
//! and takes an array's numbers one by one.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use base::{
    Error, Result,
    output::{self, Existing, Form},
};
use data::Split;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Format, Source};

/// The row of [`super::FORMATS`].
pub const FORMAT: Format = Format {
    name: "npz",
    help: "One file of NumPy arrays",
    output: OUTPUT,
    write,
};

/// NumPy's archive as an output: a zip whose first file is an array.
const OUTPUT: output::Kind = output::Kind {
    name: "a NumPy archive (.npz)",
    form: Form::File,
    existing: Existing::Kept,
    matches: |path| {
        let start = output::beginning(path, 256)?;
        let name_length = start
            .get(26..28)
            .map_or(0, |l| usize::from(l[0]) + 256 * usize::from(l[1]));
        let name = start.get(30..30 + name_length).unwrap_or_default();
        Ok(start.starts_with(b"PK\x03\x04") && name.ends_with(b".npy"))
    },
};

type Archive = ZipWriter<BufWriter<File>>;

/// Writes all arrays to one file.
fn write(source: &Source, out: &Path) -> Result<()> {
    let file = File::create(out).map_err(Error::io("create", out))?;
    let mut archive = ZipWriter::new(BufWriter::new(file));
    if let Err(error) = fill(&mut archive, source, out) {
        // Its destructor would try to finish the archive and print a second error.
        std::mem::forget(archive);
        return Err(error);
    }
    let file = archive.finish().map_err(|reason| failed(out, reason))?;
    let file = file
        .into_inner()
        .map_err(|error| Error::io("write", out)(error.into_error()))?;
    file.sync_all().map_err(Error::io("write", out))
}

/// Writes all arrays and flushes them.
fn fill(archive: &mut Archive, source: &Source, out: &Path) -> Result<()> {
    let mut bar = source.progress();
    let variants = source.variants.len();
    for split in Split::ALL {
        let images = source.store.meta().images_of(split) as usize;
        let name = split.name();
        let shape = format!("({images}, {variants}, 3, 32, 32)");
        start(archive, out, &format!("{name}_images"), "|u1", &shape)?;
        let (mut labels, mut ids) = (Vec::new(), Vec::new());
        source.for_each(split, &mut bar, |image, pixels| {
            labels.push(image.label);
            ids.extend(image.id.to_le_bytes());
            let mut each = pixels.iter();
            each.try_for_each(|pixels| archive.write_all(pixels))
                .map_err(Error::io("write", out))
        })?;
        for (what, kind, bytes) in [("labels", "|u1", labels), ("ids", "<u8", ids)] {
            start(
                archive,
                out,
                &format!("{name}_{what}"),
                kind,
                &format!("({images},)"),
            )?;
            archive.write_all(&bytes).map_err(Error::io("write", out))?;
        }
    }
    // Strings of a fixed length in UTF-32.
    let longest = source
        .variants
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    start(
        archive,
        out,
        "variants",
        &format!("<U{longest}"),
        &format!("({variants},)"),
    )?;
    for name in &source.variants {
        let letters = name
            .chars()
            .map(u32::from)
            .chain(std::iter::repeat(0))
            .take(longest);
        let bytes: Vec<u8> = letters.flat_map(u32::to_le_bytes).collect();
        archive.write_all(&bytes).map_err(Error::io("write", out))?;
    }
    bar.finish();
    archive.flush().map_err(Error::io("write", out))
}

/// Starts an array: `.npy` format 1.0, whose header is padded to a multiple of 64 bytes.
fn start(archive: &mut Archive, out: &Path, name: &str, kind: &str, shape: &str) -> Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(true);
    archive
        .start_file(format!("{name}.npy"), options)
        .map_err(|reason| failed(out, reason))?;
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let len = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((len as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = len - 1).bytes());
    archive.write_all(&bytes).map_err(Error::io("write", out))
}

fn failed(out: &Path, reason: zip::result::ZipError) -> Error {
    Error::io("write", out)(std::io::Error::other(reason))
}
