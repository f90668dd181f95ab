//! Everything both programs need. A picture walks through these rooms in order:
//!
//! [`cifar10`] (read) -> [`attack`] (perturb, quantise) -> [`store`] (write, read),
//! with [`model`] (the nets) built on [`nn`] (how each operation is computed on a device).
//! [`arguments`], [`device`], [`error`], [`files`], [`lock`], [`output`], [`program`], [`progress`],
//! [`random`], [`sheet`] and [`signal`] serve all of them.

pub mod arguments;
pub mod attack;
pub mod cifar10;
pub mod device;
pub mod error;
pub mod files;
pub mod lock;
pub mod log;
pub mod manual;
pub mod model;
pub mod nn;
pub mod output;
pub mod program;
pub mod progress;
pub mod random;
pub mod sheet;
pub mod signal;
pub mod store;

pub use error::{Error, Result};

/// Tensors are large and short-lived: the system's allocator would give their memory back and
/// take it anew, page fault by page fault, in every step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
