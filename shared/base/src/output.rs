//! Output paths: the checks before a command writes or replaces a file or folder, and its lock.
//!
//! An input is never overwritten, by whatever name or link; an existing file of another kind is never
//! replaced; one of the same kind only with `--force`; named pipes and devices are refused.

use std::{
    fs::{self, FileType},
    io::Read,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::{Error, Result, files, lock::Lock};

/// A kind of output.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name with an article, for messages.
    pub name: &'static str,
    /// A file or a folder.
    pub form: Form,
    /// What happens to an existing one without `--force`.
    pub existing: Existing,
    /// Whether the file or folder at this path is of this kind; `Err` to refuse with a more specific reason.
    pub matches: fn(&Path) -> Result<bool>,
}

/// What an output is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A file, in an existing folder.
    File,
    /// A folder; its parents are created.
    Folder,
}

/// What happens to an existing output without `--force`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The command is refused.
    Kept,
    /// The command resumes it, and handles `--force` itself.
    Resumed,
    /// It is replaced.
    Replaced,
}

/// Checks that `kind` may be written to `path` by a command that reads `inputs`. Returns the path with
/// links resolved.
///
/// # Errors
/// [`Error::Usage`] with what is there and what to do; errors of `kind.matches`.
pub fn check(path: &Path, kind: &Kind, inputs: &[&Path], force: bool) -> Result<PathBuf> {
    let refused = |reason: String| Err(Error::Usage(format!("{}: {reason}", path.display())));
    let place = real(path)?;
    let found = match fs::metadata(&place) {
        Ok(found) => found,
        Err(_) => {
            if kind.form == Form::File && !files::folder_of(&place).is_dir() {
                return refused("its folder does not exist; create it or choose another".into());
            }
            return Ok(place);
        }
    };
    let same = |input: &&&Path| {
        let input = fs::metadata(input);
        input.is_ok_and(|input| (input.dev(), input.ino()) == (found.dev(), found.ino()))
    };
    if let Some(input) = inputs.iter().find(same) {
        let input = input.display();
        return refused(format!(
            "is the input {input}, which is never replaced; name another output"
        ));
    }
    let is_folder = kind.form == Form::Folder;
    if found.is_dir() != is_folder || !(found.is_dir() || found.is_file()) {
        let (there, name) = (describe(found.file_type()), kind.name);
        return refused(format!(
            "is {there}, where {name} is to be written; name another output"
        ));
    }
    let is_empty = if is_folder {
        is_empty_folder(&place)?
    } else {
        found.len() == 0
    };
    if is_empty && (is_folder || force || kind.existing != Existing::Kept) {
        return Ok(place);
    }
    if !is_empty && !(kind.matches)(&place)? {
        let name = kind.name;
        return refused(format!(
            "exists and is not {name}, so not even --force replaces it; name another output"
        ));
    }
    if kind.existing == Existing::Kept && !force {
        return refused("exists; name another output, or add --force".into());
    }
    Ok(place)
}

/// A checked and locked output.
#[derive(Debug)]
pub struct Output {
    /// Its path, with links resolved.
    pub path: PathBuf,
    _lock: Lock,
}

impl Output {
    /// [`check`], then takes the lock.
    ///
    /// # Errors
    /// As [`check`] and [`Lock::beside`].
    pub fn claim(path: &Path, kind: &Kind, inputs: &[&Path], force: bool) -> Result<Self> {
        let path = check(path, kind, inputs, force)?;
        files::create_folder(&files::folder_of(&path))?;
        let lock = Lock::beside(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Writes a file atomically.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        files::write_whole(&self.path, bytes)
    }

    /// Calls `make` with a temporary path and renames the result; nothing is left if it fails.
    pub fn make<T>(&self, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let partial = files::partial(&self.path);
        files::remove(&partial)?;
        let made = make(&partial);
        if made.is_err() {
            files::remove(&partial)?;
            return made;
        }
        // A rename cannot replace a folder that is not empty: move the old one aside first.
        let earlier = files::partial(&self.path.with_extension("earlier"));
        let is_replaced = self.path.is_dir();
        if is_replaced {
            files::remove(&earlier)?;
            files::rename(&self.path, &earlier)?;
        }
        if let Err(error) = files::rename(&partial, &self.path) {
            if is_replaced {
                files::rename(&earlier, &self.path)?;
            }
            return Err(error);
        }
        // Also one that was moved aside before a kill.
        files::remove(&earlier).and(made)
    }
}

/// Whether a file begins with these bytes.
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
pub fn begins_with(path: &Path, bytes: &[u8]) -> Result<bool> {
    Ok(beginning(path, bytes.len())? == bytes)
}

/// The first bytes of a file, at most `max`.
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
pub fn beginning(path: &Path, max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let read = file.take(max as u64).read_to_end(&mut bytes);
    read.map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// The path with links and dots resolved; the last part need not exist.
fn real(path: &Path) -> Result<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    if path.is_symlink() {
        return Err(Error::Usage(format!(
            "{}: is a link to a file that is not there; remove it, or name another output",
            path.display()
        )));
    }
    let Some(name) = path.file_name() else {
        return Err(Error::Usage(format!(
            "{}: is no name of a file",
            path.display()
        )));
    };
    let folder = files::folder_of(path);
    let folder = folder
        .canonicalize()
        .or_else(|_| std::path::absolute(&folder));
    Ok(folder.map_err(Error::io("find", path))?.join(name))
}

fn is_empty_folder(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == crate::lock::INSIDE)))
}

fn describe(found: FileType) -> &'static str {
    match found {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_file() => "a file",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: Kind = Kind {
        name: "a PNG image",
        form: Form::File,
        existing: Existing::Kept,
        matches: |path| begins_with(path, b"\x89PNG"),
    };

    fn refusal(path: &Path, inputs: &[&Path], force: bool) -> String {
        let error = check(path, &PNG, inputs, force).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn an_input_is_never_overwritten_by_whatever_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.png"), b"\x89PNG").unwrap();
        fs::hard_link(at("a.png"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("a.png"), at("soft")).unwrap();
        for name in ["a.png", "./a.png", "hard", "soft"] {
            let error = refusal(&at(name), &[&at("a.png")], true);
            assert!(error.contains("is the input"), "{error}");
        }
        assert_eq!(fs::read(at("a.png")).unwrap(), b"\x89PNG");
    }

    #[test]
    fn force_replaces_the_same_kind_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.png"), b"\x89PNG").unwrap();
        fs::write(at("thesis.tex"), "years of work").unwrap();
        fs::write(at("empty"), "").unwrap();
        assert!(
            refusal(&at("a.png"), &[], false)
                .contains("exists; name another output, or add --force")
        );
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(
            check(&at("a.png"), &PNG, &[], true).unwrap(),
            real.join("a.png")
        );
        assert!(refusal(&at("thesis.tex"), &[], true).contains("is not a PNG image"));
        check(&at("empty"), &PNG, &[], true).unwrap();
        check(&at("new"), &PNG, &[], false).unwrap();
        assert!(refusal(folder.path(), &[], true).contains("is a folder"));
        assert!(refusal(&at("no/folder/a.png"), &[], true).contains("does not exist"));
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        assert!(refusal(&at("dangling"), &[], true).contains("a link to a file that is not there"));
    }

    #[test]
    fn named_pipes_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(refusal(&pipe, &[], true).contains("is a named pipe"));
        assert!(refusal(Path::new("/dev/null"), &[], true).contains("is a device"));
    }
}
