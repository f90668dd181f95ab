//! Command-line parts of both programs: start and exit code, shared options, shell completions, man pages.
#![deny(unsafe_code)]

pub mod arguments;
pub mod device;
pub mod log;
pub mod manual;
pub mod normalization;
pub mod program;
pub mod shard;

/// The allocator of both programs. Tensors are large and short-lived: the system's allocator would
/// return their memory to the kernel and fault it in again, page by page, in every step.
pub use mimalloc::MiMalloc as Allocator;
