//! Dropout whose mask is a function of a key and the position alone, never of threads: a tensor comes in, the same
//! with some elements zero and the rest scaled up goes out.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::random::uniform_at;

/// Drops each element with probability `rate` and divides the others by `1 - rate`.
pub fn dropout(x: &Tensor, rate: f32, key: u64) -> Result<Tensor> {
    if rate == 0.0 {
        return Ok(x.clone());
    }
    let kept = 1.0 / (1.0 - rate);
    let mut mask = vec![0.0f32; x.elem_count()];
    const CHUNK: usize = 16 * 1024;
    mask.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, mask)| {
            let first = (chunk * CHUNK) as u64;
            for (index, value) in (first..).zip(mask) {
                *value = if uniform_at(key, index) < rate {
                    0.0
                } else {
                    kept
                };
            }
        });
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}
