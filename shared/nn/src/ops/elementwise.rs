//! ReLU and addition of NHWC feature maps.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::cpu_slices::{as_f32, tensor_like, with_f32};
use crate::cuda;
use kernels::relu as kernel;

/// `max(x, 0)` of `[B,H,W,C]`, whose gradient is zero where `x` is; a NaN stays one.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Relu)
}

/// The sum of two feature maps of one shape: a residual connection.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a + b
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = kernel::forward(as_f32(x, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((cuda::relu((x, layout))?, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        if !y.device().is_cpu() {
            return cuda::relu_backward(y, gradient).map(Some);
        }
        let grad_x = with_f32([y, gradient], |[y, gradient]| {
            Ok(kernel::backward(y, gradient))
        })?;
        tensor_like(y, grad_x).map(Some)
    }
}
