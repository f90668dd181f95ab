//! The error type of both programs: one line of text and an exit code (README.md has the table).

use std::path::{Path, PathBuf};

/// Errors, by what the user has to do about them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself cannot be carried out: a wrong option, an output that exists.
    #[error("{0}")]
    Usage(String),

    /// An input is not what it should be.
    #[error("{what}: found {found}, expected {expected}")]
    Data {
        /// The file, or the part of it, that is wrong.
        what: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },

    /// An input is wrong in a way that one sentence says better than a found and an expected value.
    #[error("{what}: {reason}")]
    Invalid {
        /// The file, or the part of it, that is wrong.
        what: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The device asked for is not there.
    #[error("{0}")]
    NoDevice(String),

    /// A loss, logit, gradient, pixel, score or metric became infinite or NaN.
    #[error("{0}")]
    NonFinite(String),

    /// The work was asked to stop and can be resumed.
    #[error("{0}")]
    Interrupted(String),

    /// An operation of the operating system failed.
    #[error("{path}: cannot {action}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: "read", "create", "rename".
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },

    /// A tensor operation failed: a bug here or an exhausted device.
    #[error("tensor operation failed: {}", one_line(&root(.0)))]
    Tensor(#[from] candle_core::Error),

    /// The device has no memory left.
    #[error(
        "out of memory on the device with --batch-size {batch_size}: a smaller batch needs less"
    )]
    OutOfMemory {
        /// Images worked on at once.
        batch_size: usize,
    },

    /// SQLite failed for a reason that is not the file's content.
    #[error("{path}: {source}")]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// SQLite's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What library functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A wrong input: where, what was found, what was expected.
    pub fn data(
        what: impl std::fmt::Display,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Self {
        Self::Data {
            what: printable(&what),
            found: printable(&found),
            expected: printable(&expected),
        }
    }

    /// A wrong input: where, and what is wrong, as in "weights.safetensors: cut short".
    pub fn invalid(what: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self::Invalid {
            what: printable(&what),
            reason: printable(&reason),
        }
    }

    /// The same error with the path `from` replaced by `to`, the input that `from` was made from.
    pub fn renamed(mut self, from: &Path, to: &Path) -> Self {
        if let Self::Data { what, .. } | Self::Invalid { what, .. } = &mut self {
            let names = [from, to].map(|path| printable(&path.display()));
            *what = what.replacen(&names[0], &names[1], 1);
        }
        self
    }

    /// The same error; of a value that is not finite, it says where that was.
    pub fn found_in(self, what: &dyn std::fmt::Display) -> Self {
        match self {
            Self::NonFinite(found) => Self::NonFinite(format!("{what}: {found}")),
            other => other,
        }
    }

    /// The same error; a tensor error that means "out of memory" becomes [`Error::OutOfMemory`].
    pub fn of_batch(self, batch_size: usize) -> Self {
        match self {
            Self::Tensor(reason) if is_out_of_memory(&reason) => Self::OutOfMemory { batch_size },
            other => other,
        }
    }

    /// A failure of the operating system on `path`; use as `.map_err(Error::io("read", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }

    /// The process exit code: 2 usage, 3 missing or bad input, 4 device, 5 non-finite, 75 interrupted,
    /// and 1 for I/O or device failure (a full disk, a missing permission).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Data { .. } | Self::Invalid { .. } => 3,
            // A named input that is not there, or a folder in place of a file, is bad data and no
            // fault of the machine.
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::NotFound
                        | std::io::ErrorKind::IsADirectory
                        | std::io::ErrorKind::NotADirectory
                        | std::io::ErrorKind::InvalidFilename
                ) =>
            {
                3
            }
            Self::NoDevice(_) => 4,
            Self::NonFinite(_) => 5,
            Self::Interrupted(_) => 75,
            Self::Io { .. } | Self::Tensor(_) | Self::OutOfMemory { .. } | Self::Sqlite { .. } => 1,
        }
    }
}

/// Whether a tensor error means that the device has no memory left.
pub fn is_out_of_memory(reason: &candle_core::Error) -> bool {
    /// The words of the driver, cuBLAS and cuDNN, in lower case.
    const MARKERS: [&str; 3] = ["out of memory", "out_of_memory", "alloc_failed"];
    let text = reason.to_string().to_lowercase();
    MARKERS.iter().any(|marker| text.contains(marker))
}

/// Text from a file on one line, with control characters (terminal commands) escaped.
pub fn printable(text: &dyn std::fmt::Display) -> String {
    let mut printable = String::new();
    for character in one_line(text).chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Text of several lines on one.
pub fn one_line(text: &dyn std::fmt::Display) -> String {
    let text = text.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// The error that candle wraps, without its backtrace.
fn root(error: &candle_core::Error) -> &candle_core::Error {
    use candle_core::Error as Tensor;
    match error {
        Tensor::WithBacktrace { inner, .. } | Tensor::Context { inner, .. } => root(inner),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_out_of_memory_error_names_the_batch_size() {
        let tensor = |text: &str| Error::Tensor(candle_core::Error::Msg(text.into()));
        let full = tensor("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")").of_batch(512);
        assert!(full.to_string().contains("--batch-size 512"), "{full}");
        assert_eq!(full.exit_code(), 1);
        let other = tensor("shape mismatch").of_batch(512);
        assert!(other.to_string().contains("shape mismatch"), "{other}");
    }

    #[test]
    fn text_from_a_file_is_one_line_with_control_characters_escaped() {
        let error = Error::data("a\nb", "\u{1b}[2J", "é");
        assert_eq!(error.to_string(), r"a b: found \u{1b}[2J, expected é");
        let error = Error::invalid("a\nb", "\u{1b}[2J");
        assert_eq!(error.to_string(), r"a b: \u{1b}[2J");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn a_tensor_error_is_one_line_without_a_backtrace() {
        let inner = candle_core::Error::Msg("shape mismatch\n  in conv2d".into());
        let error = Error::Tensor(candle_core::Error::WithBacktrace {
            inner: Box::new(inner),
            backtrace: Box::new(std::backtrace::Backtrace::force_capture()),
        });
        let expected = "tensor operation failed: shape mismatch in conv2d";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_bad_data() {
        let folder = tempfile::tempdir().unwrap();
        let read = std::fs::read(folder.path()).map_err(Error::io("read", folder.path()));
        assert_eq!(read.unwrap_err().exit_code(), 3);
    }
}
