//! Archive (`.tar.gz`) of batch files, read as a stream.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;

use super::{
    Opened, RawDataset, Source,
    batch_files::{BatchFiles, FileRole, Published},
    unsupported,
};
use base::{Error, Result};

/// The largest file that is read, twice the largest published one: a header's size is only a claim.
const MAX_FILE_BYTES: u64 = 320 << 20;

#[derive(Debug)]
struct BatchArchive(PathBuf);

/// A file named `.tar.gz` or `.tgz`.
pub fn open(path: &Path) -> Opened {
    let name = path.file_name().and_then(|name| name.to_str());
    let named = name.is_some_and(|name| name.ends_with(".tar.gz") || name.ends_with(".tgz"));
    let archive = || Box::new(BatchArchive(path.to_path_buf())) as Box<dyn Source>;
    Ok((named && path.is_file()).then(archive))
}

impl Source for BatchArchive {
    fn read(&self) -> Result<RawDataset> {
        let file = File::open(&self.0).map_err(Error::io("read", &self.0))?;
        let what = self.0.display().to_string();
        let broken = |error: io::Error| Error::data(&what, error, "a whole .tar.gz");
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        // The data set and form, once a batch or names file of one has appeared.
        let mut read: Option<(Published, BatchFiles)> = None;
        // Raw: extension headers, whose claims the reader would follow, stay plain entries.
        for entry in archive.entries().map_err(broken)?.raw(true) {
            let mut entry = entry.map_err(broken)?;
            let Some((published, role, name)) = recognize(&entry) else {
                continue;
            };
            let what = format!("{what}, {name}");
            let (first, batches) =
                read.get_or_insert_with(|| (published, BatchFiles::new(published)));
            if first.form.folder != published.form.folder {
                let found = format!("a file of {}", published.form.archive());
                let expected = format!("only files of {}", first.form.archive());
                return Err(Error::data(what, found, expected));
            }
            batches.add(role, &what, &content(&mut entry, &what, broken)?)?;
        }
        // The checksum stands at the end of the stream, behind the last entry.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
        match read {
            Some((_, batches)) => batches.finish(&what),
            None => Err(unsupported(
                &self.0,
                "an archive without batches of a known data set",
            )),
        }
    }
}

/// The form that an entry belongs to, its role and its path; `None` for entries to skip.
fn recognize<R: Read>(entry: &tar::Entry<R>) -> Option<(Published, FileRole, String)> {
    if !entry.header().entry_type().is_file() {
        return None;
    }
    let path = String::from_utf8(entry.path_bytes().into_owned()).ok()?;
    let name = path.rsplit('/').next()?;
    let (published, role) =
        Published::all().find_map(|published| Some((published, published.role(name)?)))?;
    Some((published, role, path))
}

/// All bytes of an entry, as many as its header claims.
fn content<R: Read>(
    entry: &mut tar::Entry<R>,
    what: &str,
    broken: impl Fn(io::Error) -> Error,
) -> Result<Vec<u8>> {
    let size = entry.size();
    if size > MAX_FILE_BYTES {
        let found = format!("{size} bytes");
        return Err(Error::data(
            what,
            found,
            format!("at most {MAX_FILE_BYTES}"),
        ));
    }
    let mut bytes = Vec::new();
    let mut limited = entry.take(MAX_FILE_BYTES);
    limited.read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 != size {
        let found = format!("{} bytes", bytes.len());
        let expected = format!("{size}, as its header says");
        return Err(Error::data(what, found, expected));
    }
    Ok(bytes)
}
