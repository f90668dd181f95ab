//! File locks on outputs (a store, a run folder, an export), so that two programs never write the same one.
//!
//! The lock is on a file beside the output, or inside it if it is a folder that stays, never on the output
//! itself: SQLite's own locks must stay free for readers, and the two kinds get in each other's way on
//! network file systems.

use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{Error, Result, files};

/// The name of the lock file inside a folder.
pub const INSIDE: &str = ".lock";

/// A lock that is held until it is dropped. The lock file is removed with the lock; a killed program leaves
/// an empty one, which locks nothing.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks `output` by a file beside it, named like it with `.lock` at the end.
    ///
    /// # Errors
    /// [`Error::Usage`] when another program holds the lock, when the folder is not there, or when the lock
    /// file has content, so that it is another file of that name.
    pub fn beside(output: &Path) -> Result<Self> {
        Self::take(files::with_suffix(output, ".lock"), output)
    }

    /// Locks an existing folder by a file in it.
    ///
    /// # Errors
    /// As [`Lock::beside`].
    pub fn inside(folder: &Path) -> Result<Self> {
        Self::take(folder.join(INSIDE), folder)
    }

    fn take(path: PathBuf, output: &Path) -> Result<Self> {
        loop {
            check_is_ours(&path)?;
            let file = open(&path, output)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Usage(format!(
                        "{}: another program is writing to it; wait until it has ended, or name another output",
                        output.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
            // The last holder may have removed the file after we opened it and before we locked it.
            if is_still_there(&file, &path) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked, so that no newer lock file is removed. One left behind is
        // harmless, so failing to remove it is no error.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Refuses a file with content: the lock file is removed in the end, and `Cargo.lock` is the user's.
fn check_is_ours(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() || found.len() > 0 => Err(Error::Usage(format!(
            "{}: found a file that is no lock, expected none; name another output",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn open(path: &Path, output: &Path) -> Result<File> {
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Usage(format!(
            "{}: its folder does not exist; create it or choose another",
            output.display()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_exclusive_and_its_file_is_removed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("a.db");
        let held = Lock::beside(&output).unwrap();
        let refused = Lock::beside(&output).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        let text = refused.to_string();
        assert!(text.contains("a.db: another program is writing"), "{text}");
        drop(held);
        drop(Lock::beside(&output).unwrap());
        drop(Lock::inside(folder.path()).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // As a killed program leaves it.
        std::fs::write(folder.path().join("a.db.lock"), "").unwrap();
        Lock::beside(&output).unwrap();
    }

    #[test]
    fn a_users_lock_file_is_neither_locked_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("Cargo.lock");
        std::fs::write(&theirs, "version = 4\n").unwrap();
        let refused = Lock::beside(&folder.path().join("Cargo")).unwrap_err();
        assert!(
            refused.to_string().contains("Cargo.lock: found"),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(theirs).unwrap(), "version = 4\n");
    }
}
