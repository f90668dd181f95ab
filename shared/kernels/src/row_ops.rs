//! Row operations of a Transformer: softmax, layer normalization and GELU with their gradients,
//! sums and products. Each row is computed by itself, in one order.

use crate::{
    math::{FRAC_1_SQRT_2PI, exp, normal_cdf},
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

    /// `x += factor * y`.
    pub fn add_scaled(x: &mut [f32], factor: f32, y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += factor * y;
        }
    }

    /// `x *= y`.
    pub fn mul(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }

    /// Dot product.
    pub fn dot(x: &[f32], y: &[f32]) -> f32 {
        let mut lanes = [0.0; LANES];
        for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * y;
            }
        }
        lanes.iter().sum()
    }

    /// Mean and 1 / sqrt(variance + eps) of a row.
    pub fn moments(x: &[f32], eps: f32) -> (f32, f32) {
        let count = x.len() as f32;
        let mean = sum(x, |x| x) / count;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
        (mean, 1.0 / (variance + eps).sqrt())
    }

    /// Replaces scores with the numerators of their softmax, e^(x - max); returns the maximum and
    /// the denominator.
    pub fn softmax_row(x: &mut [f32]) -> (f32, f32) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        let max = lanes.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        let mut sums = [0.0; LANES];
        let (whole, rest) = x.as_chunks_mut::<LANES>();
        for chunk in whole {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *x = exp(*x - max);
                *sum += *x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *x = exp(*x - max);
            *sum += *x;
        }
        (max, sums.iter().sum())
    }

    /// `x *= factor`.
    pub fn scale_by(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }

    /// Replaces scores with their softmax, given their log-sum-exp.
    pub fn exp_row(x: &mut [f32], lse: f32) {
        for x in x {
            *x = exp(*x - lse);
        }
    }

    /// Softmax backward: replaces the gradient of the probabilities with that of the scores,
    /// `probs * (grad - delta)`; `delta` is the sum of `probs * grad`.
    pub fn softmax_gradient_row(probs: &[f32], delta: f32, grad: &mut [f32]) {
        for (grad, prob) in grad.iter_mut().zip(probs) {
            *grad = prob * (*grad - delta);
        }
    }

    /// Layer normalization of a row.
    pub fn layer_norm_row(x: &[f32], mean: f32, inv_std: f32, weight: &[f32], bias: &[f32], y: &mut [f32]) {
        for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = (x - mean) * inv_std * weight + bias;
        }
    }

    /// Layer normalization backward: gradient of the input of a row, written to `out`.
    pub fn layer_norm_gradient_row(
        x: &[f32], mean: f32, inv_std: f32, weight: &[f32], grad_output: &[f32], out: &mut [f32],
    ) {
        for ((out, grad_output), weight) in out.iter_mut().zip(grad_output).zip(weight) {
            *out = grad_output * weight;
        }
        let count = x.len() as f32;
        let shift = sum(out, |x| x) / count;
        let mut lanes = [0.0; LANES];
        for (out, x) in out.chunks(LANES).zip(x.chunks(LANES)) {
            for ((lane, out), x) in lanes.iter_mut().zip(out).zip(x) {
                *lane += out * ((x - mean) * inv_std);
            }
        }
        let mean_product = lanes.iter().sum::<f32>() / count;
        for (out, x) in out.iter_mut().zip(x) {
            *out = (*out - shift - (x - mean) * inv_std * mean_product) * inv_std;
        }
    }

    /// Adds a row's part of the gradients of layer normalization's weight and bias.
    pub fn layer_norm_parameter_gradients_row(
        x: &[f32], mean: f32, inv_std: f32, grad_output: &[f32], weight: &mut [f32], bias: &mut [f32],
    ) {
        for (((weight, bias), x), grad_output) in weight.iter_mut().zip(bias).zip(x).zip(grad_output) {
            *weight += (x - mean) * inv_std * grad_output;
            *bias += grad_output;
        }
    }

    /// GELU, `x Phi(x)`, of a row.
    pub fn gelu_row(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * normal_cdf(*x).0;
        }
    }

    /// GELU of a row, and its backward pass in place: `grad_output` becomes the input's gradient.
    pub fn gelu_gradient_row(x: &[f32], y: &mut [f32], grad_output: &mut [f32]) {
        for ((y, x), grad_output) in y.iter_mut().zip(x).zip(grad_output) {
            let (below, density) = normal_cdf(*x);
            *y = x * below;
            *grad_output *= below + x * FRAC_1_SQRT_2PI * density;
        }
    }
}

/// Sum of `f` over a row, in 16 partial sums.
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
