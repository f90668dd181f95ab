//! Dropout (Srivastava et al., 2014) whose mask is a function of a key and the position alone, never of
//! threads.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::cpu_slices::as_f32;
use crate::cuda;

pub use kernels::dropout::DropoutMask;

/// `x`, some elements zero and the others scaled up, if there is a mask. Most kernels apply masks themselves.
pub fn dropout(x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    match mask {
        Some(mask) => x.contiguous()?.apply_op1(DropoutOp(mask)),
        None => Ok(x.clone()),
    }
}

struct DropoutOp(DropoutMask);

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.0.applied(as_f32(x, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        Ok((cuda::dropout((x, layout), self.0)?, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        dropout(gradient, Some(self.0)).map(Some)
    }
}
