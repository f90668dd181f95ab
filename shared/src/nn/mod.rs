//! How each operation is computed on a device: tensors come in, tensors with gradients go out.
//! Models and attacks call these and never ask where they run.

mod batch_norm;
mod convolution;
mod cpu;
mod dropout;
mod folded;
mod host;
mod loss;
mod token;

pub use batch_norm::{ConvNormParameters, Normalised, conv_norm};
pub use convolution::{conv_transpose2d, conv2d};
pub use dropout::dropout;
pub use folded::{FrozenConvNorm, Normalisation};
pub use loss::{cross_entropy, smooth_l1};
pub use token::{attention, gelu, layer_norm, linear};

#[cfg(test)]
mod tests;
