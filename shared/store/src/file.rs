//! A store's file: its canonical path, its rollback journal, and the places in it that errors name.

use std::{
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use base::{Error, Result, files, lock::Lock};

/// The path of a store, for everything that opens it or reports an error in it.
#[derive(Clone, Debug)]
pub(super) struct StoreFile {
    path: PathBuf,
}

impl StoreFile {
    /// The path as SQLite needs it: absolute, since SQLite gives names such as `:memory:` a meaning, and
    /// without links, since the journal lies beside the file itself.
    pub(super) fn canonical(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path)
            .or_else(|_| std::path::absolute(path))
            .map_err(Error::io("find", path))?;
        Ok(Self { path })
    }

    /// The path as it was given, for looking at the file without SQLite.
    pub(super) fn as_given(path: &Path) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// SQLite's rollback journal of the store.
    pub(super) fn journal(&self) -> PathBuf {
        files::with_suffix(&self.path, "-journal")
    }

    /// A part of the file, for an error: `PATH: part`.
    pub(super) fn part(&self, part: impl fmt::Display) -> String {
        format!("{self}: {part}")
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> Result<u64> {
        let metadata = fs::metadata(&self.path).map_err(Error::io("read", &self.path))?;
        Ok(metadata.len())
    }

    /// Removes the store and its journal; a missing one is fine.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is no store; [`Error::Usage`] while a build is writing to it.
    pub(super) fn remove(&self) -> Result<()> {
        let _lock = Lock::beside(&self.path)?;
        self.check_removable()?;
        // The store first: SQLite ignores a journal without a database, but would miss the journal
        // of a half-written one.
        for path in [&self.path, &self.journal()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for StoreFile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.path.display().fmt(f)
    }
}
