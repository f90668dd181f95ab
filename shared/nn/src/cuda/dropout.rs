//! Dropout on CUDA: the mask is computed where it is needed, forward and backward.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{
    Kind,
    kernels::{self, Argument},
    map::{at, at_floats, room},
};
use crate::dropout::DropoutMask;

/// `x` times the mask's factors.
pub fn drop(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Dropout(mask))
}

struct Dropout(DropoutMask);

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("dropout for CUDA, on the CPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let len = layout.shape().elem_count();
        let y = room(&x.device, Kind::F32, len)?;
        let arguments = [
            Argument::At(at_floats(x, layout)?),
            Argument::Bits(self.0.key()),
            Argument::Bits32(self.0.threshold()),
            Argument::Float(self.0.scale()),
            Argument::At(at(&y)?),
            Argument::long(len)?,
        ];
        // SAFETY: both have `len` numbers.
        unsafe { kernels::for_each(&x.device, "dropout_f32", len, &arguments) }?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        drop(gradient, self.0).map(Some)
    }
}
