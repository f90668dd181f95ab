//! SQLite's file header, checked before SQLite touches the file.
//!
//! Offsets are those of <https://www.sqlite.org/fileformat.html>, section 1.3.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::Path,
};

use super::{
    file::StoreFile,
    schema::{self, APPLICATION_ID},
};
use base::{Error, Result};

const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Bytes of the header.
const HEADER_BYTES: usize = 100;

/// The state of the file at a path that may become a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// No file.
    Missing,
    /// A file without a first page: a build was stopped before its first write was whole.
    Unwritten,
    /// A store of this schema version.
    Store,
}

impl StoreFile {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] for a file that is not a store, or one of another schema
    /// version; [`Error::Io`] when it cannot be read.
    pub(super) fn inspect(&self) -> Result<FileState> {
        let Some(header) = self.read_header()? else {
            return Ok(FileState::Missing);
        };
        if self.is_unwritten(&header) {
            return Ok(FileState::Unwritten);
        }
        self.check_application(&header)?;
        schema::check_version(self, be_u32(&header, 60))?;
        if header[18] != 1 || header[19] != 1 {
            return Err(Error::data(
                self,
                "a store switched to a write-ahead log",
                "one with a rollback journal (`PRAGMA journal_mode = DELETE` switches it back)",
            ));
        }
        self.check_length(&header)?;
        Ok(FileState::Store)
    }

    /// Whether a file with this header was never committed to: it is empty, or a kill or a power cut has left the first page
    /// as zeros and the journal beside it.
    fn is_unwritten(&self, header: &[u8]) -> bool {
        header.is_empty() || header.iter().all(|&byte| byte == 0) && self.journal().exists()
    }

    /// Refuses to remove a file that is neither empty nor a store of any version.
    pub(super) fn check_removable(&self) -> Result<()> {
        match self.read_header()? {
            Some(header) if !self.is_unwritten(&header) => self.check_application(&header),
            _ => Ok(()),
        }
    }

    fn read_header(&self) -> Result<Option<Vec<u8>>> {
        let path = self.path();
        // To open a named pipe would wait for its writer.
        let found = match fs::metadata(path) {
            Ok(found) if found.is_dir() => Some("a folder"),
            Ok(found) if !found.is_file() => Some("a named pipe or a device"),
            _ => None,
        };
        if let Some(found) = found {
            return Err(Error::data(self, found, "an adversarial store"));
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let mut header = Vec::with_capacity(HEADER_BYTES);
        file.take(HEADER_BYTES as u64)
            .read_to_end(&mut header)
            .map_err(Error::io("read", path))?;
        Ok(Some(header))
    }

    fn check_application(&self, header: &[u8]) -> Result<()> {
        let found = if header.len() < HEADER_BYTES || &header[..16] != SQLITE_MAGIC {
            "no SQLite file"
        } else if be_u32(header, 68) != APPLICATION_ID {
            "another program's database"
        } else {
            return Ok(());
        };
        Err(Error::data(self, found, "an adversarial store"))
    }

    /// Refuses a last page that was cut short, which SQLite would fill with zeros.
    fn check_length(&self, header: &[u8]) -> Result<()> {
        // The number 1 stands for 65,536, which does not fit.
        let page = match u64::from(header[16]) << 8 | u64::from(header[17]) {
            1 => 65_536,
            size => size,
        };
        let length = self.len()?;
        // While there is a journal, a write may be under way.
        if page == 0 || length % page == 0 || self.journal().exists() {
            return Ok(());
        }
        let expected = format!("whole pages of {page} bytes: the file was cut short");
        Err(Error::data(self, format!("{length} bytes"), expected))
    }
}

/// Whether the file at `path` is a store of any version, for [`super::OUTPUT`]; the error tells why not.
///
/// # Errors
/// [`Error::Data`] for a file that is no store.
pub(super) fn is_store(path: &Path) -> Result<bool> {
    StoreFile::as_given(path).check_removable().map(|()| true)
}

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}
