//! Operations on candle tensors (CPU, CUDA), models and their weights. Models and attacks call the
//! operations without regard to the device; an operation has one file name in `ops`, in `cuda` and in the
//! crate `kernels`.

mod compute_options;
mod cuda;
pub mod device;
mod device_batch;
mod device_memory;
pub mod model;
mod ops;
mod readback;
mod step_graph;

use candle_core::{Device, Result};

pub use compute_options::{ComputeDevice, ComputeOptions, Precision};
pub use device_batch::{padded_batch, pads_batches};
pub use device_memory::retry_out_of_memory;
pub use ops::{
    average::average,
    batch_norm::{BatchNormParams, RunningStatistics, batch_norm_eval, batch_norm_train},
    conv::{Conv2d, conv_transpose2d, conv2d},
    crop::{CropWindow, ImagePool},
    dropout::DropoutMask,
    elementwise::{add, relu},
    gradients::backward,
    linear::{layer_norm, linear},
    loss::{cross_entropy, kl_divergence, smooth_l1, smoothed_cross_entropy},
    pool::global_avg_pool,
    residual::{ConvBn, FoldedConvBn, ResidualLayer, ResidualVjp, residual_eval, residual_train},
    sgd::{SgdConfig, SgdParam},
    transformer::{
        SublayerWeights, attention_sublayer, cls_attention_sublayer, embed, feed_forward_sublayer,
    },
};
pub use readback::{Readback, ReadbackQueue};
pub use step_graph::{StepBatch, StepGraph, StepInputs, StepResults};

/// Prepares a device for models of these options.
pub fn prepare(device: Device, options: ComputeOptions) -> Result<ComputeDevice> {
    if let Device::Cuda(device) = &device {
        cuda::prepare(device)?;
    }
    // The one thing that candle keeps for the whole program: how its own matrix products cut factors.
    candle_core::cuda::set_gemm_reduced_precision_f32(options.precision != Precision::F32);
    Ok(ComputeDevice { device, options })
}
