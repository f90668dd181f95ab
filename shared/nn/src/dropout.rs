//! Dropout whose mask is a function of a key and the position alone, never of threads: a tensor
//! comes in, the same with some elements zero and the rest scaled up goes out.

use candle_core::{Result, Tensor};

pub use kernels::dropout::DropoutMask;

/// Drops where the mask, if there is one, says so. For devices without kernels of ours, and for
/// tests: the kernels apply masks themselves.
pub(super) fn drop(x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return Ok(x.clone());
    };
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return super::cuda::drop(x, mask);
    }
    let factors = mask.applied(&vec![1.0; x.elem_count()]);
    x * Tensor::from_vec(factors, x.shape(), x.device())?
}
