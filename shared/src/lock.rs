//! One build per output: a store's path comes in, a lock that a second build cannot have goes out.
//!
//! The lock is on `<store>.lock`, not on the store: SQLite's own locks must stay free for readers,
//! and the two kinds get in each other's way on network file systems.

use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::header::beside;
use crate::{Error, Result};

/// Held for as long as a build runs. The file goes when the lock does; a killed build leaves an
/// empty one, which locks nothing.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks the store at `store`.
    ///
    /// # Errors
    /// [`Error::Usage`] when another build has it or its folder is not there.
    pub(super) fn take(store: &Path) -> Result<Self> {
        let path = beside(store, ".lock");
        loop {
            let file = open(&path, store)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Usage(format!(
                        "{}: another build is writing to it",
                        store.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
            // Its last holder may have removed the file between our opening and our locking it.
            if is_still_there(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked, so that nobody's newer file is removed. One left behind is
        // harmless, so failing to remove it is no error.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path, store: &Path) -> Result<File> {
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Usage(format!(
            "{}: its folder does not exist; create it or choose another",
            store.display()
        )),
        _ => Error::io("create", path)(error),
    })
}

fn is_still_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}
