//! Atomic file writes (temporary file, fsync, rename), and reading with errors that name the file.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// Prefix of the names of files that are not finished.
const PARTIAL: &str = ".partial-";

/// A file's bytes.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Data`] when it is a folder.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    check_is_file(path)?;
    std::fs::read(path).map_err(Error::io("read", path))
}

/// Refuses a folder where a file is to be read.
///
/// # Errors
/// [`Error::Data`].
pub fn check_is_file(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::data(path.display(), "a folder", "a file"));
    }
    Ok(())
}

/// A file's text.
///
/// # Errors
/// As [`read`], and [`Error::Data`] when it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes).map_err(|error| Error::data(path.display(), error, "text in UTF-8"))
}

/// Removes the temporary files that a killed program left in a folder. The caller must be the only one
/// that writes there.
pub fn remove_partials(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if is_partial(&path) {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a path has the name of a temporary file.
pub fn is_partial(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PARTIAL))
}

/// Writes `bytes` to `path` atomically: to a temporary file in the same folder, fsync, rename.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_through(path, |file| {
        file.write_all(bytes).map_err(Error::io("write", path))
    })
}

/// Calls `write` with a temporary file that then becomes `path`, atomically; if it fails, `path` stays as it was.
pub fn write_through(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL);
    // Temporary files are private by default; this one becomes an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder
        .tempfile_in(&folder)
        .map_err(Error::io("create a file in", &folder))?;
    write(file.as_file_mut())?;
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    file.persist(path)
        .map_err(|refused| Error::io("replace", path)(refused.error))?;
    sync_folder(&folder)
}

/// Fsync of a folder, so that a rename in it survives a power cut.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("flush", folder))
}

/// Removes a file, or a folder with its content; it is no error if nothing is there.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(Error::io("remove", path))
}

/// Renames a finished file or folder, followed by fsync of the folder.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(Error::io("replace", to))?;
    sync_folder(&folder_of(to))
}

/// Creates a folder and its parents.
pub fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))
}

/// The temporary name, in the same folder, of what will be renamed to `path` when finished.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(PARTIAL);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// `path` with `suffix` added to its file name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The parent folder of a path.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_the_file_and_leaves_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for content in ["one", "two"] {
            write_whole(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::write(folder.path().join(".partial-abc"), "half").unwrap();
        remove_partials(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_missing_folder() {
        let error = write_whole(Path::new("/nowhere/file"), b"").unwrap_err();
        assert!(error.to_string().starts_with("/nowhere: cannot"), "{error}");
    }
}
