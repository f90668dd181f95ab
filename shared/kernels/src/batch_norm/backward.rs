//! Batch normalization backward: one pass for the gradients of gamma and beta, one for that of the
//! input.

use rayon::prelude::*;

use super::{
    BatchNormParams, ChannelView, ParameterGrads,
    rows::{RowFn, blocks, load_block, map_rows, sum_rows},
};
use crate::{
    scratch::uninit_vec,
    simd::{F32x16, Kernel, dispatch},
};

/// Gradients of gamma and beta; `grad_output` is that of the normalized `x`.
pub fn parameter_gradients(
    norm: &BatchNormParams,
    x: &[f32],
    grad_output: &[f32],
) -> ParameterGrads {
    assert_eq!(x.len(), grad_output.len());
    let channels = norm.mean.len();
    let view = ChannelView::new(channels, x.len());
    let mean = view.expand(&norm.mean);
    let chunks: Vec<Vec<f32>> = x
        .par_chunks(view.chunk())
        .zip(grad_output.par_chunks(view.chunk()))
        .map(|(x, grad_output)| {
            let mut sums = vec![0.0; 2 * view.channels];
            dispatch(ChunkSums {
                x,
                grad_output,
                mean: &mean,
                sums: &mut sums,
            });
            sums
        })
        .collect();
    // Copies of a channel in the view are `period` apart.
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

/// Terms of the sums: `(x - mean) * grad_output` and `grad_output`.
struct GradTerms<V> {
    mean: V,
}

impl<V: F32x16> RowFn<V, 2, 2> for GradTerms<V> {
    #[inline(always)]
    fn apply(&self, [x, grad_output]: [V; 2]) -> [V; 2] {
        [(x - self.mean) * grad_output, grad_output]
    }
}

/// Sums of [`GradTerms`] over a chunk.
struct ChunkSums<'a> {
    x: &'a [f32],
    grad_output: &'a [f32],
    mean: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for ChunkSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let channels = self.mean.len();
        let (products, gradients) = self.sums.split_at_mut(channels);
        for (first, count) in blocks(channels) {
            let [mean] = load_block::<V, 1>([self.mean], (first, count));
            let slices = [self.x, self.grad_output];
            let [product, sum] = sum_rows(channels, first, count, slices, GradTerms { mean });
            // SAFETY: the slices have `count` floats.
            unsafe {
                product.store_partial(products[first..][..count].as_mut_ptr(), count);
                sum.store_partial(gradients[first..][..count].as_mut_ptr(), count);
            }
        }
    }
}

/// Gradient of `x` through its normalization by batch statistics, which depend on `x`; `sums` are
/// from [`parameter_gradients`].
pub fn input_gradient(
    norm: &BatchNormParams,
    x: &[f32],
    grad_output: &[f32],
    sums: &ParameterGrads,
) -> Vec<f32> {
    assert_eq!(x.len(), grad_output.len());
    let channels = norm.mean.len();
    let count = (x.len() / channels) as f32;
    let view = ChannelView::new(channels, x.len());
    // grad_x = (g - grad_beta / n - (x - mean) * inv_std * grad_gamma / n) * inv_std * gamma.
    let scale = |c: usize| norm.inv_std[c] * norm.gamma[c];
    let x_scale = |c: usize| -scale(c) * norm.inv_std[c] * sums.gamma[c] / count;
    let shift = |c: usize| -scale(c) * sums.beta[c] / count;
    let expand = |f: &dyn Fn(usize) -> f32| view.expand(&(0..channels).map(f).collect::<Vec<_>>());
    let coefficients = [
        expand(&|c| norm.mean[c]),
        expand(&scale),
        expand(&x_scale),
        expand(&shift),
    ];
    // SAFETY: the chunks cover the result, and each task writes all of its chunk.
    unsafe {
        uninit_vec(x.len(), |out| {
            out.par_chunks_mut(view.chunk())
                .zip(x.par_chunks(view.chunk()))
                .zip(grad_output.par_chunks(view.chunk()))
                .for_each(|((out, x), grad_output)| {
                    dispatch(ChunkGradient {
                        x,
                        grad_output,
                        coefficients: coefficients.each_ref().map(Vec::as_slice),
                        out: out.as_mut_ptr().cast(),
                    });
                });
        })
    }
}

/// Input gradient of a row.
struct InputGradFn<V> {
    mean: V,
    scale: V,
    x_scale: V,
    shift: V,
}

impl<V: F32x16> RowFn<V, 2, 1> for InputGradFn<V> {
    #[inline(always)]
    fn apply(&self, [x, grad_output]: [V; 2]) -> [V; 1] {
        let constant = (x - self.mean).mul_add(self.x_scale, self.shift);
        [grad_output.mul_add(self.scale, constant)]
    }
}

/// A chunk of [`input_gradient`]; `out` has room for it.
struct ChunkGradient<'a> {
    x: &'a [f32],
    grad_output: &'a [f32],
    /// Mean, factor of `grad_output`, factor of `x - mean`, constant.
    coefficients: [&'a [f32]; 4],
    out: *mut f32,
}

impl Kernel for ChunkGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let channels = self.coefficients[0].len();
        for block in blocks(channels) {
            let [mean, scale, x_scale, shift] = load_block::<V, 4>(self.coefficients, block);
            let input_grad = InputGradFn {
                mean,
                scale,
                x_scale,
                shift,
            };
            // SAFETY: `out` has room for as many floats as `x` has.
            unsafe {
                map_rows(
                    channels,
                    block,
                    [self.x, self.grad_output],
                    [self.out],
                    input_grad,
                );
            }
        }
    }
}

/// Gradient of `x` through its normalization by running statistics (evaluation mode), which are
/// constants.
pub fn eval_input_gradient(norm: &BatchNormParams, grad_output: &[f32]) -> Vec<f32> {
    let view = ChannelView::new(norm.mean.len(), grad_output.len());
    let scale: Vec<f32> = std::iter::zip(&norm.inv_std, &norm.gamma)
        .map(|(inv_std, gamma)| inv_std * gamma)
        .collect();
    let scale = view.expand(&scale);
    // SAFETY: the chunks cover the result, and each task writes all of its chunk.
    unsafe {
        uninit_vec(grad_output.len(), |out| {
            out.par_chunks_mut(view.chunk())
                .zip(grad_output.par_chunks(view.chunk()))
                .for_each(|(out, grad_output)| {
                    dispatch(ChunkScale {
                        grad_output,
                        scale: &scale,
                        out: out.as_mut_ptr().cast(),
                    });
                });
        })
    }
}

/// Multiplies by a factor per channel.
struct ScaleFn<V> {
    scale: V,
}

impl<V: F32x16> RowFn<V, 1, 1> for ScaleFn<V> {
    #[inline(always)]
    fn apply(&self, [grad_output]: [V; 1]) -> [V; 1] {
        [grad_output * self.scale]
    }
}

/// A chunk of [`eval_input_gradient`]; `out` has room for it.
struct ChunkScale<'a> {
    grad_output: &'a [f32],
    scale: &'a [f32],
    out: *mut f32,
}

impl Kernel for ChunkScale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let channels = self.scale.len();
        for block in blocks(channels) {
            let [scale] = load_block::<V, 1>([self.scale], block);
            // SAFETY: `out` has room for as many floats as `grad_output` has.
            unsafe {
                map_rows(
                    channels,
                    block,
                    [self.grad_output],
                    [self.out],
                    ScaleFn { scale },
                );
            }
        }
    }
}
