//! A path comes in; what its first hundred bytes say goes out, before SQLite touches the file.
//!
//! Offsets are those of <https://www.sqlite.org/fileformat.html>, section 1.3.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use super::{APPLICATION_ID, SCHEMA_VERSION};
use base::{Error, Result, files};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Nothing.
    Absent,
    /// A file without a first page: a build was stopped before its first write was whole.
    Unwritten,
    /// A store of this schema version.
    Store,
}

/// Looks at `path`.
///
/// # Errors
/// [`Error::Data`] for a file that is not a store, or one of another schema version;
/// [`Error::Io`] when it cannot be read.
pub(super) fn look(path: &Path) -> Result<Header> {
    let Some(bytes) = first_bytes(path)? else {
        return Ok(Header::Absent);
    };
    // A power cut can leave the first page as zeros; then the journal still says what was there.
    let unwritten = bytes.iter().all(|&byte| byte == 0) && journal(path).exists();
    if bytes.is_empty() || unwritten {
        return Ok(Header::Unwritten);
    }
    check_application(path, &bytes)?;
    let version = number(&bytes, 60);
    if version != SCHEMA_VERSION {
        return Err(wrong_version(path, version));
    }
    if bytes[18] != 1 || bytes[19] != 1 {
        return Err(Error::data(
            path.display(),
            "a store switched to a write-ahead log",
            "one with a rollback journal (`PRAGMA journal_mode = DELETE` switches it back)",
        ));
    }
    check_length(path, &bytes)?;
    Ok(Header::Store)
}

/// Whether the file at `path` is a store of any version; for one that is not, why.
///
/// # Errors
/// [`Error::Data`] for a file that is no store.
pub fn is_store(path: &Path) -> Result<bool> {
    check_removable(path).map(|()| true)
}

/// Whether a file at `path` may be removed as a store: it is one of any version, or empty.
pub(super) fn check_removable(path: &Path) -> Result<()> {
    match first_bytes(path)? {
        Some(bytes) if !bytes.is_empty() => check_application(path, &bytes),
        _ => Ok(()),
    }
}

/// SQLite's rollback journal of a database.
pub(super) fn journal(path: &Path) -> PathBuf {
    files::with_suffix(path, "-journal")
}

pub(super) fn wrong_version(path: &Path, found: u32) -> Error {
    let advice = match found < SCHEMA_VERSION {
        true => "build the store again",
        false => "use a newer program",
    };
    Error::data(
        path.display(),
        format!("schema version {found}"),
        format!("schema version {SCHEMA_VERSION}, the one this program knows: {advice}"),
    )
}

fn first_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    // A named pipe would be waited for.
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(Error::data(
                path.display(),
                "a folder",
                "an adversarial store",
            ));
        }
        Ok(found) if !found.is_file() => {
            let found = "a named pipe or a device";
            return Err(Error::data(path.display(), found, "an adversarial store"));
        }
        _ => {}
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut bytes = Vec::with_capacity(100);
    file.take(100)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    Ok(Some(bytes))
}

fn check_application(path: &Path, bytes: &[u8]) -> Result<()> {
    let found = if bytes.len() < 100 || &bytes[..16] != MAGIC {
        "no SQLite file"
    } else if number(bytes, 68) != APPLICATION_ID {
        "another program's database"
    } else {
        return Ok(());
    };
    Err(Error::data(path.display(), found, "an adversarial store"))
}

/// SQLite fills a last page that was cut short with zeros; here it is an error.
fn check_length(path: &Path, bytes: &[u8]) -> Result<()> {
    // The number 1 stands for 65,536, which does not fit.
    let page = match u64::from(bytes[16]) << 8 | u64::from(bytes[17]) {
        1 => 65_536,
        size => size,
    };
    let length = std::fs::metadata(path)
        .map_err(Error::io("read", path))?
        .len();
    // While a journal is there, a write may be under way.
    if page == 0 || length % page == 0 || journal(path).exists() {
        return Ok(());
    }
    let found = format!("{length} bytes");
    let expected = format!("whole pages of {page} bytes: the file was cut short");
    Err(Error::data(path.display(), found, expected))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}
