//! Global average pooling.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use crate::cuda;

/// The mean over the positions of `[B,H,W,C]`, in f32: `[B,C]`.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cuda() {
        return x.contiguous()?.apply_op1(CudaAveragePool);
    }
    x.to_dtype(DType::F32)?.flatten(1, 2)?.mean(1)
}

/// The same in one kernel.
struct CudaAveragePool;

impl CustomOp1 for CudaAveragePool {
    fn name(&self) -> &'static str {
        "average-pool"
    }

    fn cpu_fwd(&self, _x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("on the CPU the average is composed of candle's operations")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (images, _, _, channels) = layout.shape().dims4()?;
        let y = cuda::average_pool((x, layout))?;
        Ok((y, Shape::from((images, channels))))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        cuda::average_pool_backward(x, gradient).map(Some)
    }
}
