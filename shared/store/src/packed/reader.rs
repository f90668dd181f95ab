//! Checked reading of a packed file, which may hold anything: every failure names the file.

use std::{
    io::{self, ErrorKind, Read},
    path::Path,
};

use base::{Error, Result};

/// A stream of the file at a path.
pub(super) struct PackedReader<'a, R> {
    path: &'a Path,
    stream: R,
}

impl<'a, R: Read> PackedReader<'a, R> {
    pub(super) fn new(path: &'a Path, stream: R) -> Self {
        Self { path, stream }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(reason) => Err(self.broken(&reason)),
        }
    }

    /// The next `count` values of `N` bytes each.
    pub(super) fn column<T, const N: usize>(
        &mut self,
        count: usize,
        value: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        (0..count).map(|_| Ok(value(self.array()?))).collect()
    }

    /// The next `count` ids of images, each as large as a store's may be.
    pub(super) fn ids(&mut self, count: usize) -> Result<Vec<u64>> {
        let ids = self.column(count, u64::from_le_bytes)?;
        match ids.iter().find(|id| i64::try_from(**id).is_err()) {
            None => Ok(ids),
            Some(id) => {
                let what = format!("{}: id of an image", self.path.display());
                Err(Error::data(what, id, format!("at most {}", i64::MAX)))
            }
        }
    }

    /// A length of at most `max`, and as many bytes; memory is taken only for bytes that are there.
    pub(super) fn sized(&mut self, max: u64, what: &str) -> Result<Vec<u8>> {
        let len = u64::from_le_bytes(self.array()?);
        if len > max {
            let what = format!("{}: {what}", self.path.display());
            let found = format!("{len} bytes");
            return Err(Error::data(what, found, format!("at most {max}")));
        }
        let mut bytes = Vec::new();
        match (&mut self.stream).take(len).read_to_end(&mut bytes) {
            Ok(read) if read as u64 == len => Ok(bytes),
            Ok(_) => Err(self.broken(&ErrorKind::UnexpectedEof.into())),
            Err(reason) => Err(self.broken(&reason)),
        }
    }

    /// Refuses further bytes. At the end of a zstd frame, this is where its checksum is compared.
    pub(super) fn end(&mut self) -> Result<()> {
        match self.stream.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::invalid(
                self.path.display(),
                "there are bytes after the last image",
            )),
            Err(reason) => Err(self.broken(&reason)),
        }
    }

    fn broken(&self, reason: &io::Error) -> Error {
        let reason = match reason.kind() {
            ErrorKind::UnexpectedEof => "cut short".to_string(),
            _ => reason.to_string(),
        };
        Error::invalid(
            self.path.display(),
            format!("no whole packed store: {reason}"),
        )
    }
}
