//! Operations on a row of numbers: softmax, layer normalization and GELU with their gradients, and
//! sums. Slices come in and are changed; every row is computed by itself, in one order.

use crate::{
    math::{NORMAL_PEAK, exp, normal},
    multiversion::multiversion,
};

const LANES: usize = 16;

multiversion! {
    /// `x += y`.
    pub fn add(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// `x += factor y`.
    pub fn add_scaled(x: &mut [f32], factor: f32, y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += factor * y;
        }
    }

    /// `x *= y`.
    pub fn scale(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }

    /// The sum of `x y`.
    pub fn dot(x: &[f32], y: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * y;
            }
        }
        lanes.iter().sum()
    }

    /// Mean, and 1 / sqrt(variance + eps), of a row.
    pub fn moments(x: &[f32], eps: f32) -> (f32, f32) {
        let count = x.len() as f32;
        let mean = sum(x, |x| x) / count;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
        (mean, 1.0 / (variance + eps).sqrt())
    }

    /// Makes a row of scores the numerators of its softmax, e^(x - largest); returns the largest
    /// and the denominator.
    pub fn softmax_row(x: &mut [f32]) -> (f32, f32) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        let largest = lanes.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let mut sums = [0.0; LANES];
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for chunk in whole {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *x = exp(*x - largest);
                *sum += *x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *x = exp(*x - largest);
            *sum += *x;
        }
        (largest, sums.iter().sum())
    }

    /// `x *= factor`.
    pub fn scale_by(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }

    /// Makes a row of scores its softmax, whose level is known.
    pub fn exp_row(x: &mut [f32], level: f32) {
        for x in x {
            *x = exp(*x - level);
        }
    }

    /// Makes slopes of a softmax's weights slopes of its scores; `common` is the weighted sum of
    /// the slopes.
    pub fn slope_row(weights: &[f32], common: f32, slopes: &mut [f32]) {
        for (slope, weight) in slopes.iter_mut().zip(weights) {
            *slope = weight * (*slope - common);
        }
    }

    /// A row of a layer normalization.
    pub fn norm_row(x: &[f32], mean: f32, inv_std: f32, weight: &[f32], bias: &[f32], y: &mut [f32]) {
        for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = (x - mean) * inv_std * weight + bias;
        }
    }

    /// A row of a layer normalization's gradient.
    pub fn norm_gradient_row(
        x: &[f32], mean: f32, inv_std: f32, weight: &[f32], gradient: &[f32], out: &mut [f32],
    ) {
        for ((out, gradient), weight) in out.iter_mut().zip(gradient).zip(weight) {
            *out = gradient * weight;
        }
        let count = x.len() as f32;
        let shift = sum(out, |x| x) / count;
        let mut lanes = [0.0; LANES];
        for (out, x) in out.chunks(LANES).zip(x.chunks(LANES)) {
            for ((lane, out), x) in lanes.iter_mut().zip(out).zip(x) {
                *lane += out * ((x - mean) * inv_std);
            }
        }
        let slope = lanes.iter().sum::<f32>() / count;
        for (out, x) in out.iter_mut().zip(x) {
            *out = (*out - shift - (x - mean) * inv_std * slope) * inv_std;
        }
    }

    /// What a row adds to the gradients of a layer normalization's parameters.
    pub fn norm_parameters_row(
        x: &[f32], mean: f32, inv_std: f32, gradient: &[f32], weight: &mut [f32], bias: &mut [f32],
    ) {
        for (((weight, bias), x), gradient) in weight.iter_mut().zip(bias).zip(x).zip(gradient) {
            *weight += (x - mean) * inv_std * gradient;
            *bias += gradient;
        }
    }

    /// A row of a GELU, `x Phi(x)`.
    pub fn gelu_row(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * normal(*x).0;
        }
    }

    /// A row of a GELU, and the gradient of its input where that of its output stood.
    pub fn gelu_gradient_row(x: &[f32], y: &mut [f32], gradient: &mut [f32]) {
        for ((y, x), gradient) in y.iter_mut().zip(x).zip(gradient) {
            let (below, density) = normal(*x);
            *y = x * below;
            *gradient *= below + x * NORMAL_PEAK * density;
        }
    }
}

/// The sum of `f` over a row, in 16 lanes.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in x.chunks(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    lanes.iter().sum()
}
