//! Common parts of the library and both programs: errors, random numbers, files, locks, outputs,
//! logging, progress and signals.
#![forbid(unsafe_code)]

pub mod error;
pub mod files;
pub mod lock;
pub mod log;
pub mod output;
pub mod progress;
pub mod signal;
pub mod time;

pub use error::{Error, Result};
pub use kernels::random;
