//! How each operation is computed on a device: tensors come in, tensors with gradients go out.
//! Models and attacks call these and never ask where they run.

mod arithmetic;
mod batch_norm;
mod chain;
mod convolution;

mod cuda;
mod dropout;
mod elementwise;
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
mod pool;
mod show;
mod token;

use candle_core::{Device, Result};

pub use arithmetic::{ComputeOptions, Precision};
pub use batch_norm::{batch_norm_eval, batch_norm_train};
pub use chain::{ResidualLayer, ResidualVjp, residual_eval, residual_train};
pub use convolution::{conv_transpose2d, conv2d};

pub use dropout::DropoutMask;
pub use elementwise::{add, relu};
pub use encoder::{
    SublayerWeights, attention_sublayer, cls_attention_sublayer, embed, feed_forward_sublayer,
};
pub use frozen::{BatchNormParams, FoldedConvBn};
pub use learning::{BatchStats, Conv2d, ConvBn};
pub use loss::{cross_entropy, smooth_l1};
pub use momentum::{SgdConfig, SgdParam};
pub use pool::global_avg_pool;
pub use show::{CropWindow, ImagePool};
pub use token::{layer_norm, linear};

/// Makes a device ready, and this the arithmetic of the whole program.
pub fn prepare(device: &Device, arithmetic: ComputeOptions) -> Result<()> {
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
