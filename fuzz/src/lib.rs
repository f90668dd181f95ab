//! What the targets share: a folder that lasts as long as the process, files in it, and what is
//! asked of every refusal.

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

/// Every refusal is one line, and blames the input.
pub fn check(error: &Error) {
    let said = error.to_string();
    assert!(!said.contains('\n'), "several lines: {said}");
    assert_eq!(error.exit_code(), 3, "{said}");
}

/// Checks the refusal, if it is one.
pub fn checked<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(check).ok()
}
