//! Choice of the CUDA backend: the one place that depends on whether the feature `cuda` is on. Operations call the
//! functions that both backends have; without the feature each of them is an error.

#[cfg(not(feature = "cuda"))]
#[path = "disabled.rs"]
mod backend;
#[cfg(feature = "cuda")]
#[path = "enabled.rs"]
mod backend;

pub use backend::*;

/// An argument of an operation.
pub type Argument<'a> = (&'a candle_core::CudaStorage, &'a candle_core::Layout);
