//! Dropout whose mask is a function of a key and the position alone, never of threads: a tensor
//! comes in, the same with some elements zero and the rest scaled up goes out.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::host::{floats, with_floats};
use crate::random::uniform_at;

/// Drops each element with probability `rate` and divides the others by `1 - rate`.
pub fn dropout(x: &Tensor, rate: f32, key: u64) -> Result<Tensor> {
    if rate == 0.0 {
        return Ok(x.clone());
    }
    let mask = Mask { rate, key };
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(mask);
    }
    let ones = vec![1.0; x.elem_count()];
    let mask = Tensor::from_vec(mask.apply(&ones), x.shape(), x.device())?;
    x * mask
}

struct Mask {
    rate: f32,
    key: u64,
}

impl Mask {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        const CHUNK: usize = 16 * 1024;
        let kept = 1.0 / (1.0 - self.rate);
        let mut out = vec![0.0; x.len()];
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .enumerate()
            .for_each(|(chunk, (out, x))| {
                let first = (chunk * CHUNK) as u64;
                for ((index, out), x) in (first..).zip(out).zip(x) {
                    let dropped = uniform_at(self.key, index) < self.rate;
                    *out = if dropped { 0.0 } else { x * kept };
                }
            });
        out
    }
}

impl CustomOp1 for Mask {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.apply(floats(x, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// The mask is drawn again rather than remembered.
    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_x = with_floats([gradient], |[g]| Ok(self.apply(g)))?;
        Tensor::from_vec(of_x, x.shape(), x.device()).map(Some)
    }
}
