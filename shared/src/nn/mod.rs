//! How each operation is computed on a device: tensors come in, tensors with gradients go out.
//! Models and attacks call these and never ask where they run.

mod batch_norm;
mod convolution;
mod cpu;
mod dropout;
mod encoder;
mod folded;
mod host;
mod loss;
mod token;

pub use batch_norm::{Normalisation, Statistics, batch_norm, moments};
pub use convolution::{conv_transpose2d, conv2d};
pub use dropout::Mask;
pub use encoder::{HalfLayer, attention_half, class_attention_half, embed, feed_forward_half};
pub use folded::conv_norm_frozen;
pub use loss::{cross_entropy, smooth_l1};
pub use token::{layer_norm, linear};

#[cfg(test)]
mod tests;
