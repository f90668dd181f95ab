//! How each operation is computed on a device: tensors come in, tensors with gradients go out.
//! Models and attacks call these and never ask where they run.

mod arithmetic;
mod chain;
mod convolution;

#[cfg(feature = "cuda")]
mod cuda;
mod dropout;
mod encoder;
mod frozen;

pub mod device;
mod handle;
mod host;
mod learning;
mod loss;
pub mod memory;
pub mod model;
mod momentum;
mod show;
mod token;

use candle_core::{Device, Result};

pub use arithmetic::{Arithmetic, Precision};
pub use chain::{Around, Link, frozen_chain, learning_chain};
pub use convolution::{conv_transpose2d, conv2d};

pub use dropout::Mask;
pub use encoder::{HalfLayer, attention_half, class_attention_half, embed, feed_forward_half};
pub use frozen::{FrozenConvNorm, Normalisation};
pub use learning::{ConvNormParameters, Filter, Moments};
pub use loss::{cross_entropy, smooth_l1};
pub use momentum::{Descent, Momentum};
pub use show::{DevicePictures, Window};
pub use token::{layer_norm, linear};

/// Makes a device ready, and this the arithmetic of the whole program.
pub fn prepare(device: &Device, arithmetic: Arithmetic) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        cuda::prepare(device)?;
    }
    let _ = device;
    arithmetic.choose();
    Ok(())
}

#[cfg(test)]
mod tests;
