//! Batch normalization forward: normalize, add a residual, ReLU, in one pass.

use rayon::prelude::*;

use super::{
    BatchNormParams, ChannelView,
    rows::{RowFn, blocks, load_block, map_rows},
};
use crate::{
    scratch::uninit_vec,
    simd::{F32x16, Kernel, dispatch},
};

/// `relu(batch_norm(x) + residual)`; residual and ReLU are optional.
pub fn forward(
    norm: &BatchNormParams,
    x: &[f32],
    residual: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let view = ChannelView::new(norm.mean.len(), x.len());
    let scale: Vec<f32> = std::iter::zip(&norm.inv_std, &norm.gamma)
        .map(|(inv_std, gamma)| inv_std * gamma)
        .collect();
    let [mean, scale, shift] = [&norm.mean, &scale, &norm.beta].map(|v| view.expand(v));
    assert!(residual.is_none_or(|residual| residual.len() == x.len()));
    // SAFETY: the chunks cover the result, and each task writes all of its chunk.
    unsafe {
        uninit_vec(x.len(), |out| {
            out.par_chunks_mut(view.chunk())
                .zip(x.par_chunks(view.chunk()))
                .enumerate()
                .for_each(|(chunk, (out, x))| {
                    let at = chunk * view.chunk();
                    dispatch(ChunkForward {
                        x,
                        residual: residual.map(|residual| &residual[at..][..x.len()]),
                        relu,
                        channels: [&mean, &scale, &shift],
                        out: out.as_mut_ptr().cast(),
                    });
                });
        })
    }
}

/// A chunk of [`forward`]; `out` has room for it.
struct ChunkForward<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    relu: bool,
    channels: [&'a [f32]; 3],
    out: *mut f32,
}

impl Kernel for ChunkForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let channels = self.channels[0].len();
        for block in blocks(channels) {
            let [mean, scale, shift] = load_block::<V, 3>(self.channels, block);
            let normalize = NormalizeFn {
                mean,
                scale,
                shift,
                relu: self.relu,
            };
            // SAFETY: `out` has room for as many floats as `x` has.
            unsafe {
                match self.residual {
                    None => map_rows(channels, block, [self.x], [self.out], normalize),
                    Some(residual) => {
                        map_rows(channels, block, [self.x, residual], [self.out], normalize);
                    }
                }
            }
        }
    }
}

/// Normalizes, adds the residual if there is one, applies the ReLU if there is one.
struct NormalizeFn<V> {
    mean: V,
    scale: V,
    shift: V,
    relu: bool,
}

impl<V: F32x16> NormalizeFn<V> {
    #[inline(always)]
    fn normalize(&self, x: V) -> V {
        (x - self.mean).mul_add(self.scale, self.shift)
    }

    #[inline(always)]
    fn activate(&self, y: V) -> V {
        if self.relu { y.max(0.0) } else { y }
    }
}

impl<V: F32x16> RowFn<V, 1, 1> for NormalizeFn<V> {
    #[inline(always)]
    fn apply(&self, [x]: [V; 1]) -> [V; 1] {
        [self.activate(self.normalize(x))]
    }
}

impl<V: F32x16> RowFn<V, 2, 1> for NormalizeFn<V> {
    #[inline(always)]
    fn apply(&self, [x, residual]: [V; 2]) -> [V; 1] {
        [self.activate(self.normalize(x) + residual)]
    }
}
