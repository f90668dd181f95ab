//! Kernels for the CPU: contiguous f32 slices come in, new vectors go out. Every loop over
//! images runs on all cores, and no result depends on how many there are.

// Constant loops over arrays of lanes become registers; iterators over them may stay calls
// without the lanes' instructions (see `lanes`).
#![allow(clippy::needless_range_loop)]

pub mod attend;
pub mod convolve;
mod direct;
mod distances;
mod elementary;
pub mod embed;
pub mod encoder;
pub mod epilogue;
pub mod geometry;
mod lanes;
pub mod mask;
mod matrix;
mod memory;
pub mod normalize;
mod product;
pub mod random;
pub mod rows;
mod vectorize;
mod winograd;

pub use distances::distances;
