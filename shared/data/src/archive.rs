//! The official archive: a `.tar.gz` comes in as a stream, images go out.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;

use super::{
    batches::{Batch, Batches},
    classes::NAMES_FILE,
    foreign,
    source::{RawDataset, Source, unread},
};
use base::{Error, Result};

/// The largest batch that is read, twice the official size: a header's size is only a claim.
const LARGEST: u64 = 64 << 20;

struct Archive(PathBuf);

/// A file named `.tar.gz` or `.tgz`.
pub fn open(path: &Path) -> Option<Box<dyn Source>> {
    let name = path.file_name()?.to_str()?;
    let named = name.ends_with(".tar.gz") || name.ends_with(".tgz");
    (named && path.is_file()).then(|| Box::new(Archive(path.to_path_buf())) as Box<dyn Source>)
}

impl Source for Archive {
    fn read(&self) -> Result<RawDataset> {
        let file = File::open(&self.0).map_err(Error::io("read", &self.0))?;
        let what = self.0.display().to_string();
        let broken = |error: io::Error| Error::data(&what, error, "a whole .tar.gz");
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        let mut batches = Batches::default();
        // Raw: extension headers, whose claims the reader would follow, stay plain entries.
        for entry in archive.entries().map_err(broken)?.raw(true) {
            let entry = entry.map_err(broken)?;
            let Some((part, name)) = part(&entry) else {
                continue;
            };
            let what = format!("{what}, {name}");
            let size = entry.size();
            if size > LARGEST {
                let found = format!("{size} bytes");
                return Err(Error::data(what, found, format!("at most {LARGEST}")));
            }
            let mut bytes = Vec::new();
            entry
                .take(LARGEST)
                .read_to_end(&mut bytes)
                .map_err(broken)?;
            if bytes.len() as u64 != size {
                let found = format!("{} bytes", bytes.len());
                return Err(Error::data(
                    what,
                    found,
                    format!("{size}, as its header says"),
                ));
            }
            match part {
                Part::Batch(batch) => batches.add(batch, &what, &bytes)?,
                Part::Names => batches.add_names(&what, &bytes)?,
                Part::Pickle => return Err(unread(&self.0, foreign::PYTHON)),
            }
        }
        // The checksum stands at the end of the stream, behind the last entry.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
        batches.finish(&what)
    }
}

/// What an entry is to us.
enum Part {
    Batch(Batch),
    /// The names of the classes.
    Names,
    /// A batch of the Python version.
    Pickle,
}

/// What an entry is, and its name; nothing for what is passed over.
fn part<R: Read>(entry: &tar::Entry<R>) -> Option<(Part, String)> {
    let path = String::from_utf8(entry.path_bytes().into_owned()).ok()?;
    let part = match path.rsplit('/').next()? {
        NAMES_FILE => Part::Names,
        "data_batch_1" => Part::Pickle,
        name => Part::Batch(Batch::of(name)?),
    };
    entry
        .header()
        .entry_type()
        .is_file()
        .then_some((part, path))
}
