//! Batch statistics: mean and variance of each channel.

use rayon::prelude::*;

use super::{
    ChannelView,
    rows::{RowFn, blocks, sum_rows},
};
use crate::simd::{F32x16, Kernel, dispatch};

/// Mean and biased variance of each channel of `[positions, channels]`.
pub fn moments(channels: usize, x: &[f32]) -> Vec<(f64, f64)> {
    let view = ChannelView::new(channels, x.len());
    // Variances of chunks are around each chunk's own mean (Chan, Golub and LeVeque, 1979), so that
    // nothing cancels however far it is from zero.
    let chunks: Vec<(f64, Vec<f32>)> = x
        .par_chunks(view.chunk())
        .map(|x| {
            let mut moments = vec![0.0; 2 * view.channels];
            dispatch(ChunkMoments {
                x,
                moments: &mut moments,
            });
            ((x.len() / view.channels) as f64, moments)
        })
        .collect();
    let copies = || (0..view.channels).step_by(view.period);
    let count = (x.len() / channels) as f64;
    (0..channels)
        .map(|channel| {
            let parts = chunks.iter().flat_map(|(count, moments)| {
                copies().map(move |copy| {
                    let mean = f64::from(moments[copy + channel]);
                    let square = f64::from(moments[view.channels + copy + channel]);
                    (*count, mean, square)
                })
            });
            let mean = parts.clone().map(|(n, mean, _)| n * mean).sum::<f64>() / count;
            let spread = |(n, own, square): (f64, f64, f64)| square + n * (own - mean).powi(2);
            (mean, parts.map(spread).sum::<f64>() / count)
        })
        .collect()
}

/// The values themselves.
struct Identity;

impl<V: F32x16> RowFn<V, 1, 1> for Identity {
    #[inline(always)]
    fn apply(&self, row: [V; 1]) -> [V; 1] {
        row
    }
}

/// Squared distances to the mean.
struct SquaredDistance<V> {
    mean: V,
}

impl<V: F32x16> RowFn<V, 1, 1> for SquaredDistance<V> {
    #[inline(always)]
    fn apply(&self, [x]: [V; 1]) -> [V; 1] {
        let distance = x - self.mean;
        [distance * distance]
    }
}

/// Mean and sum of squared distances to it, per channel of a chunk.
struct ChunkMoments<'a> {
    x: &'a [f32],
    moments: &'a mut [f32],
}

impl Kernel for ChunkMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let channels = self.moments.len() / 2;
        let (means, squares) = self.moments.split_at_mut(channels);
        let scale = V::splat(channels as f32 / self.x.len() as f32);
        for (first, count) in blocks(channels) {
            let [sum]: [V; 1] = sum_rows(channels, first, count, [self.x], Identity);
            let mean = sum * scale;
            let [square] = sum_rows(channels, first, count, [self.x], SquaredDistance { mean });
            // SAFETY: the slices have `count` floats.
            unsafe {
                mean.store_partial(means[first..][..count].as_mut_ptr(), count);
                square.store_partial(squares[first..][..count].as_mut_ptr(), count);
            }
        }
    }
}
