//! Shared by the fuzz targets: a temporary folder per process, files in it, and the checks of every refusal.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use base::Error;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// The path of `name` in this process's folder.
pub fn path(name: &str) -> PathBuf {
    FOLDER.path().join(name)
}

/// Writes a file there, with the folders above it.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
    fs::write(&path, bytes).expect("a file");
    path
}

/// Checks that a refusal is one line and that its exit code is that of bad data.
pub fn check(error: &Error) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "several lines: {text}");
    assert_eq!(error.exit_code(), 3, "{text}");
}

/// The value; a refusal is checked.
pub fn checked<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(check).ok()
}
