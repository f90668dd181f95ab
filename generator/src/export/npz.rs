//! NumPy's archive: a zip of `.npy` files, each a header and the numbers of one array.

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

use super::Pictures;

/// NumPy's archive as an output: a zip whose first file is an array.
pub const OUTPUT: output::Kind = output::Kind {
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
pub fn write(pictures: &Pictures, out: &Path) -> Result<()> {
    let file = File::create(out).map_err(Error::io("create", out))?;
    let mut archive = ZipWriter::new(BufWriter::new(file));
    if let Err(error) = fill(&mut archive, pictures, out) {
        // Dropped, it would try to end what could not be written, and say so beside our error.
        std::mem::forget(archive);
        return Err(error);
    }
    let file = archive.finish().map_err(|reason| failed(out, reason))?;
    let file = file
        .into_inner()
        .map_err(|error| Error::io("write", out)(error.into_error()))?;
    file.sync_all().map_err(Error::io("write", out))
}

/// All arrays, and what is still on its way to the file.
fn fill(archive: &mut Archive, pictures: &Pictures, out: &Path) -> Result<()> {
    let mut bar = pictures.progress();
    let variants = pictures.variants.len();
    for split in Split::ALL {
        let images = pictures.store.meta().images_of(split) as usize;
        let name = split.name();
        let shape = format!("({images}, {variants}, 3, 32, 32)");
        start(archive, out, &format!("{name}_images"), "|u1", &shape)?;
        let (mut labels, mut ids) = (Vec::new(), Vec::new());
        pictures.each(split, &mut bar, |image, pixels| {
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
    // Strings of a fixed length, four bytes a letter.
    let longest = pictures
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
    for name in &pictures.variants {
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

/// Begins an array: NumPy's format 1.0, whose header ends at a multiple of 64 bytes.
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
