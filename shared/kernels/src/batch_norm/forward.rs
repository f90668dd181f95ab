//! Normalizes, adds a residual, cuts below zero: one pass.

use rayon::prelude::*;

use super::{
    BatchNormParams, View,
    rows::{OfRow, blocks, load_block, map_rows},
};
use crate::{
    scratch::written,
    simd::{Kernel, Lanes, dispatch},
};

/// `relu(normalize(x) + residual)`; residual and ReLU are optional.
pub fn forward(
    norm: &BatchNormParams,
    x: &[f32],
    residual: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let view = View::new(norm.mean.len(), x.len());
    let scale: Vec<f32> = std::iter::zip(&norm.inv_std, &norm.gamma)
        .map(|(inv_std, gamma)| inv_std * gamma)
        .collect();
    let [mean, scale, shift] = [&norm.mean, &scale, &norm.beta].map(|v| view.spread(v));
    assert!(residual.is_none_or(|residual| residual.len() == x.len()));
    // SAFETY: the chunks cover the result, and every task writes all of its own.
    unsafe {
        written(x.len(), |out| {
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
    fn run<L: Lanes>(self) {
        let channels = self.channels[0].len();
        for block in blocks(channels) {
            let [mean, scale, shift] = load_block::<L, 3>(self.channels, block);
            let normal = Normal {
                mean,
                scale,
                shift,
                relu: self.relu,
            };
            // SAFETY: there is room for as much as `x` is.
            unsafe {
                match self.residual {
                    None => map_rows(channels, block, [self.x], [self.out], normal),
                    Some(residual) => {
                        map_rows(channels, block, [self.x, residual], [self.out], normal);
                    }
                }
            }
        }
    }
}

/// Normalizes, adds the residual if there is one, cuts below zero.
struct Normal<L> {
    mean: L,
    scale: L,
    shift: L,
    relu: bool,
}

impl<L: Lanes> Normal<L> {
    #[inline(always)]
    fn of(&self, x: L) -> L {
        (x - self.mean).times_plus(self.scale, self.shift)
    }

    #[inline(always)]
    fn floor(&self, y: L) -> L {
        if self.relu { y.at_least(0.0) } else { y }
    }
}

impl<L: Lanes> OfRow<L, 1, 1> for Normal<L> {
    #[inline(always)]
    fn of(&self, [x]: [L; 1]) -> [L; 1] {
        [self.floor(self.of(x))]
    }
}

impl<L: Lanes> OfRow<L, 2, 1> for Normal<L> {
    #[inline(always)]
    fn of(&self, [x, residual]: [L; 2]) -> [L; 1] {
        [self.floor(self.of(x) + residual)]
    }
}
