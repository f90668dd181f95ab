//! What comes out of a packed file, which may be anything: bytes go out, or one error that names it.

use std::{
    io::{self, Read},
    path::Path,
};

use base::{Error, Result};

/// A stream of the file at a path.
pub struct ArchiveReader<'a, R> {
    path: &'a Path,
    pub stream: R,
}

impl<'a, R: Read> ArchiveReader<'a, R> {
    pub fn new(path: &'a Path, stream: R) -> Self {
        Self { path, stream }
    }

    /// As many bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(reason) => Err(self.broken(&reason)),
        }
    }

    /// As many values, one after the other.
    pub fn column<T, const N: usize>(
        &mut self,
        count: usize,
        value: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        (0..count).map(|_| Ok(value(self.array()?))).collect()
    }

    /// As many ids of images, as large as a store's may be.
    pub fn ids(&mut self, count: usize) -> Result<Vec<u64>> {
        let ids = self.column(count, u64::from_le_bytes)?;
        match ids.iter().find(|id| i64::try_from(**id).is_err()) {
            None => Ok(ids),
            Some(id) => {
                let what = format!("{}: id of an image", self.path.display());
                Err(Error::data(what, id, format!("at most {}", i64::MAX)))
            }
        }
    }

    /// A length and as many bytes, which are believed as they come.
    pub fn sized(&mut self, most: u64, what: &str) -> Result<Vec<u8>> {
        let len = u64::from_le_bytes(self.array()?);
        if len > most {
            let what = format!("{}: {what}", self.path.display());
            return Err(Error::data(
                what,
                format!("{len} bytes"),
                format!("at most {most}"),
            ));
        }
        let mut bytes = Vec::new();
        match (&mut self.stream).take(len).read_to_end(&mut bytes) {
            Ok(read) if read as u64 == len => Ok(bytes),
            Ok(_) => Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
            Err(reason) => Err(self.broken(&reason)),
        }
    }

    /// Nothing may follow; the checksum is read on the way.
    pub fn end(&mut self) -> Result<()> {
        match self.stream.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::data(
                self.path.display(),
                "more after the last image",
                "an end",
            )),
            Err(reason) => Err(self.broken(&reason)),
        }
    }

    fn broken(&self, reason: &io::Error) -> Error {
        let found = match reason.kind() {
            io::ErrorKind::UnexpectedEof => "an end in the middle".to_string(),
            _ => reason.to_string(),
        };
        Error::data(self.path.display(), found, "a whole packed store")
    }
}
