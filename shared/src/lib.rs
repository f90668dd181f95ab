//! Everything both programs need. A picture walks through these rooms in order:
//!
//! [`cifar10`] (read) -> [`attack`] (perturb, quantise) -> [`store`] (write, read),
//! with [`model`] (the nets) built on [`nn`] (how each operation is computed on a device).
//! [`error`], [`device`], [`random`], [`progress`], [`signal`], [`sheet`] and [`whole`] serve all of them.

pub mod attack;
pub mod cifar10;
pub mod device;
pub mod error;
pub mod model;
pub mod nn;
pub mod progress;
pub mod random;
pub mod sheet;
pub mod signal;
pub mod store;
pub mod whole;

pub use error::{Error, Result};
