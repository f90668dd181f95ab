//! Kernels for the CPU: contiguous f32 slices come in, new vectors go out. Every loop over
//! pictures runs on all cores, and no result depends on how many there are.

pub mod attend;
pub mod convolve;
mod dot;
mod elementary;
pub mod embed;
pub mod encoder;
pub mod mask;
mod matrix;
pub mod planes;
pub mod rows;
mod tile;
mod vectorise;
mod window;
