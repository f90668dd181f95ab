//! The way back: one pass for the gradients of gamma and beta, one for the input's.

use rayon::prelude::*;

use super::{
    BatchNormParams, ParameterGrads, View,
    rows::{OfRow, blocks, load_block, map_rows, sum_rows},
};
use crate::{
    scratch::written,
    simd::{Kernel, Lanes, dispatch},
};

/// Gradients of gamma and beta from that of the normalized `x`.
pub fn parameter_gradients(norm: &BatchNormParams, x: &[f32], gradient: &[f32]) -> ParameterGrads {
    assert_eq!(x.len(), gradient.len());
    let channels = norm.mean.len();
    let view = View::new(channels, x.len());
    let mean = view.spread(&norm.mean);
    let chunks: Vec<Vec<f32>> = x
        .par_chunks(view.chunk())
        .zip(gradient.par_chunks(view.chunk()))
        .map(|(x, gradient)| {
            let mut sums = vec![0.0; 2 * view.channels];
            dispatch(ChunkSums {
                x,
                gradient,
                mean: &mean,
                sums: &mut sums,
            });
            sums
        })
        .collect();
    // The view's copies of a channel stand `period` apart.
    let total = |first: usize, channel: usize| -> f64 {
        let copies = (first + channel..first + view.channels).step_by(view.period);
        let each = |at: usize| chunks.iter().map(move |sums| f64::from(sums[at]));
        copies.flat_map(each).sum()
    };
    let gamma = |c| (total(0, c) * f64::from(norm.inv_std[c])) as f32;
    ParameterGrads {
        gamma: (0..channels).map(gamma).collect(),
        beta: (0..channels)
            .map(|c| total(view.channels, c) as f32)
            .collect(),
    }
}

/// Of input and gradient: the gradient times the distance to the mean, and the gradient.
struct Slopes<L> {
    mean: L,
}

impl<L: Lanes> OfRow<L, 2, 2> for Slopes<L> {
    #[inline(always)]
    fn of(&self, [x, gradient]: [L; 2]) -> [L; 2] {
        [(x - self.mean) * gradient, gradient]
    }
}

/// A chunk's sums of the gradient times the distance to the mean, and of the gradient.
struct ChunkSums<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    mean: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for ChunkSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.mean.len();
        let (products, gradients) = self.sums.split_at_mut(channels);
        for (first, count) in blocks(channels) {
            let [mean] = load_block::<L, 1>([self.mean], (first, count));
            let slices = [self.x, self.gradient];
            let [product, sum] = sum_rows(channels, first, count, slices, Slopes { mean });
            // SAFETY: the slices have `count` floats.
            unsafe {
                product.store_first(products[first..][..count].as_mut_ptr(), count);
                sum.store_first(gradients[first..][..count].as_mut_ptr(), count);
            }
        }
    }
}

/// Gradient of `x`, whose mean and variance are functions of it, from that of the normalized `x`;
/// `sums` are those of [`parameter_gradients`].
pub fn input_gradient(
    norm: &BatchNormParams,
    x: &[f32],
    gradient: &[f32],
    sums: &ParameterGrads,
) -> Vec<f32> {
    assert_eq!(x.len(), gradient.len());
    let channels = norm.mean.len();
    let count = (x.len() / channels) as f32;
    let view = View::new(channels, x.len());
    // (g - beta / n - (x - mean) * inv_std * gamma' / n) * inv_std * gamma, term by term.
    let scale = |c: usize| norm.inv_std[c] * norm.gamma[c];
    let slope = |c: usize| -scale(c) * norm.inv_std[c] * sums.gamma[c] / count;
    let shift = |c: usize| -scale(c) * sums.beta[c] / count;
    let spread = |f: &dyn Fn(usize) -> f32| view.spread(&(0..channels).map(f).collect::<Vec<_>>());
    let numbers = [
        spread(&|c| norm.mean[c]),
        spread(&scale),
        spread(&slope),
        spread(&shift),
    ];
    // SAFETY: the chunks cover the result, and every task writes all of its own.
    unsafe {
        written(x.len(), |out| {
            out.par_chunks_mut(view.chunk())
                .zip(x.par_chunks(view.chunk()))
                .zip(gradient.par_chunks(view.chunk()))
                .for_each(|((out, x), gradient)| {
                    dispatch(ChunkGradient {
                        x,
                        gradient,
                        numbers: numbers.each_ref().map(Vec::as_slice),
                        out: out.as_mut_ptr().cast(),
                    });
                });
        })
    }
}

/// Of input and gradient: the input's gradient.
struct Back<L> {
    mean: L,
    scale: L,
    slope: L,
    shift: L,
}

impl<L: Lanes> OfRow<L, 2, 1> for Back<L> {
    #[inline(always)]
    fn of(&self, [x, gradient]: [L; 2]) -> [L; 1] {
        let constant = (x - self.mean).times_plus(self.slope, self.shift);
        [gradient.times_plus(self.scale, constant)]
    }
}

/// A chunk of [`input_gradient`]; `out` has room for it.
struct ChunkGradient<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    /// Mean, factor of the gradient, factor of the distance to the mean, shift.
    numbers: [&'a [f32]; 4],
    out: *mut f32,
}

impl Kernel for ChunkGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let channels = self.numbers[0].len();
        for block in blocks(channels) {
            let [mean, scale, slope, shift] = load_block::<L, 4>(self.numbers, block);
            let back = Back {
                mean,
                scale,
                slope,
                shift,
            };
            // SAFETY: there is room for as much as `x` is.
            unsafe {
                map_rows(channels, block, [self.x, self.gradient], [self.out], back);
            }
        }
    }
}
