//! CPU kernels on contiguous f32 slices: convolution, batch normalization, attention, Transformer
//! sublayers, dropout, random numbers. Loops over images run on all cores; no result depends on the
//! number of threads. See `ARCHITECTURE.md`.

// Constant-length loops over arrays of vectors stay in registers; iterator adapters may be left as
// calls compiled without the vector instructions (see `simd`).
#![allow(clippy::needless_range_loop)]

pub mod attention;
pub mod batch_norm;
pub mod conv;
mod distances;
pub mod dropout;
mod gemm;
mod math;
mod microkernel;
mod multiversion;
pub mod random;
pub mod relu;
mod row_ops;
mod scratch;
pub mod shape;
mod simd;
pub mod transformer;

pub use distances::distances;
