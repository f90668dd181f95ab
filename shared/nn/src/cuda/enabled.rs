//! Operations on CUDA, on contiguous f32 or bf16 storages, in the order of one stream and without waiting
//! for any. Convolutions are cuDNN's (graph API); the kernels around them are CUDA C, compiled when a device is first
//! used.
//!
//! Inside an operation feature maps are `[B,H,W,C]` with the channels padded by zeros to a multiple of
//! eight, which is what tensor cores and 16-byte words want; [`feature_map::enter`] and
//! [`feature_map::leave`] add and remove the padding.

mod arrays;
mod attention;
mod average;
mod batch_norm;
mod channel_sums;
mod channels_last;
mod conv;
mod crop;
mod cudnn;
mod device_memory;
mod dropout;
mod elementwise;
mod feature_map;
mod loss;
mod module;
mod pinned;
mod pool;
mod readback;
mod residual;
pub mod row_ops;
mod sgd;
mod step_graph;

use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, SyncOnDrop, sys::CUdeviceptr,
};

pub use attention::{attention, attention_backward};
pub use average::average;
pub use batch_norm::{batch_norm_backward, batch_norm_eval, batch_norm_train};
pub use channels_last::{channels_last, channels_last_backward};
pub use conv::{conv, conv_backward};
pub use crop::{PinnedUploader, crop_resize};
pub use device_memory::{free_memory, peak_memory, prepare, release_memory};
pub use dropout::dropout;
pub use elementwise::{relu, relu_backward};
pub use loss::{cross_entropy, cross_entropy_backward};
pub use pool::{average_pool, average_pool_backward};
pub use readback::{Download, Downloader};
pub use residual::Cuda;
pub use sgd::sgd_step;
pub use step_graph::StepRecorder;

use super::Argument;
use crate::{ComputeOptions, Precision};

/// Whether this program was built with CUDA.
pub const ENABLED: bool = true;

/// Element type of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapType {
    /// 4 bytes.
    F32,
    /// 2 bytes: f32 without its last 16 bits.
    Bf16,
}

impl MapType {
    /// The element type of feature maps under these options.
    fn of(options: ComputeOptions) -> Self {
        match options.precision {
            Precision::F32 | Precision::Tf32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }

    /// The suffix of the kernels' names.
    fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// The address of a slice, for as long as the second part lives.
fn address<'a, T>(
    slice: &'a CudaSlice<T>,
    stream: &'a CudaStream,
) -> (CUdeviceptr, SyncOnDrop<'a>) {
    slice.device_ptr(stream)
}
