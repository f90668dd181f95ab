//! Global average pooling.

use candle_core::{DType, Result, Tensor};

/// The mean over the positions of `[B,H,W,C]`, in f32: `[B,C]`.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32)?.flatten(1, 2)?.mean(1)
}
