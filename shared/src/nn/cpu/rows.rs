//! Operations on rows of tokens: softmax, layer normalisation and GELU with their gradients.
//! Contiguous rows come in, new vectors go out; every row is computed by itself, in one order.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use rayon::prelude::*;

use super::vectorise::vectorised;

/// Applies `f(row number, input row, output row)` to all rows.
fn each_row(
    size: usize,
    input: &[f32],
    f: impl Fn(usize, &[f32], &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let mut output = vec![0.0; input.len()];
    output
        .par_chunks_mut(size)
        .with_min_len(at_once(size))
        .zip(input.par_chunks(size))
        .enumerate()
        .for_each(|(row, (output, input))| f(row, input, output));
    output
}

/// Rows that are worth a task: some microseconds of work.
fn at_once(size: usize) -> usize {
    (8 * 1024 / size.max(1)).max(1)
}

/// `(x - mean) / sqrt(variance + eps)` of rows of `size` floats, times `weight`, plus `bias`.
pub fn layer_norm(size: usize, eps: f32, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    each_row(size, x, |_, x, y| {
        let (mean, inverse) = moments(x, eps);
        norm_row(x, mean, inverse, weight, bias, y);
    })
}

/// Gradients of [`layer_norm`]'s input, weight and bias.
pub fn layer_norm_gradient(
    size: usize,
    eps: f32,
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let of_x = each_row(size, x, |row, x, out| {
        let (mean, inverse) = moments(x, eps);
        norm_gradient_row(
            x,
            mean,
            inverse,
            weight,
            &gradient[row * size..][..size],
            out,
        );
    });
    // A fixed number of rows adds up by itself: the sums do not depend on the threads.
    let block = size * at_once(size);
    let sums: Vec<Vec<f32>> = x
        .par_chunks(block)
        .zip(gradient.par_chunks(block))
        .map(|(x, gradient)| {
            let mut sums = vec![0.0; 2 * size];
            let (of_weight, of_bias) = sums.split_at_mut(size);
            for (x, gradient) in x.chunks_exact(size).zip(gradient.chunks_exact(size)) {
                let (mean, inverse) = moments(x, eps);
                norm_parameters_row(x, mean, inverse, gradient, of_weight, of_bias);
            }
            sums
        })
        .collect();
    let total = |i: usize| sums.iter().map(|sum| f64::from(sum[i])).sum::<f64>() as f32;
    let (of_weight, of_bias) = (0..size, size..2 * size);
    (
        of_x,
        of_weight.map(total).collect(),
        of_bias.map(total).collect(),
    )
}

/// `x Phi(x)` of every float.
pub fn gelu(x: &[f32]) -> Vec<f32> {
    each_row(CHUNK, x, |_, x, y| gelu_row(x, y))
}

/// Gradient of [`gelu`]'s input.
pub fn gelu_gradient(x: &[f32], gradient: &[f32]) -> Vec<f32> {
    each_row(CHUNK, x, |row, x, out| {
        gelu_gradient_row(x, &gradient[row * CHUNK..][..x.len()], out);
    })
}

const CHUNK: usize = 4096;
const LANES: usize = 16;

vectorised! {
    /// Mean, and 1 / sqrt(variance + eps), of a row.
    pub fn moments(x: &[f32], eps: f32) -> (f32, f32) {
        let count = x.len() as f32;
        let mean = sum(x, |x| x) / count;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
        (mean, 1.0 / (variance + eps).sqrt())
    }

    /// A row of a softmax.
    pub fn softmax_row(x: &[f32], y: &mut [f32]) {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in x.chunks(LANES) {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        let largest = lanes.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        for (y, x) in y.iter_mut().zip(x) {
            *y = exp(x - largest);
        }
        let scale = 1.0 / sum(y, |y| y);
        for y in y {
            *y *= scale;
        }
    }

    /// A row of a softmax's gradient.
    pub fn softmax_gradient_row(y: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, y), gradient) in out.iter_mut().zip(y).zip(gradient) {
            *out = y * gradient;
        }
        let shift = sum(out, |x| x);
        for (out, y) in out.iter_mut().zip(y) {
            *out -= y * shift;
        }
    }

    /// A row of a layer normalisation.
    pub fn norm_row(x: &[f32], mean: f32, inverse: f32, weight: &[f32], bias: &[f32], y: &mut [f32]) {
        for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
            *y = (x - mean) * inverse * weight + bias;
        }
    }

    /// A row of a layer normalisation's gradient.
    pub fn norm_gradient_row(
        x: &[f32], mean: f32, inverse: f32, weight: &[f32], gradient: &[f32], out: &mut [f32],
    ) {
        for ((out, gradient), weight) in out.iter_mut().zip(gradient).zip(weight) {
            *out = gradient * weight;
        }
        let count = x.len() as f32;
        let shift = sum(out, |x| x) / count;
        let mut lanes = [0.0; LANES];
        for (out, x) in out.chunks(LANES).zip(x.chunks(LANES)) {
            for ((lane, out), x) in lanes.iter_mut().zip(out).zip(x) {
                *lane += out * ((x - mean) * inverse);
            }
        }
        let slope = lanes.iter().sum::<f32>() / count;
        for (out, x) in out.iter_mut().zip(x) {
            *out = (*out - shift - (x - mean) * inverse * slope) * inverse;
        }
    }

    /// What a row adds to the gradients of a layer normalisation's parameters.
    pub fn norm_parameters_row(
        x: &[f32], mean: f32, inverse: f32, gradient: &[f32], weight: &mut [f32], bias: &mut [f32],
    ) {
        for (((weight, bias), x), gradient) in weight.iter_mut().zip(bias).zip(x).zip(gradient) {
            *weight += (x - mean) * inverse * gradient;
            *bias += gradient;
        }
    }

    /// A row of a GELU.
    pub fn gelu_row(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * normal_below(*x);
        }
    }

    /// A row of a GELU's gradient.
    pub fn gelu_gradient_row(x: &[f32], gradient: &[f32], out: &mut [f32]) {
        // 1 / sqrt(2 pi), the normal density's peak.
        const PEAK: f32 = 0.398_942_3;
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = gradient * (normal_below(*x) + x * PEAK * exp(-0.5 * x * x));
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

/// e^x, within 2 units in the last place; 0 below -87, capped above 88. Vectorises, unlike the
/// standard library's.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first exact in few bits.
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = if x > 88.0 { 88.0 } else { x };
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = clamped * LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = clamped - whole * LN2.0 - whole * LN2.1;
    // Taylor's series to the seventh power: the rest is within ±0.35.
    let mut series = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * rest + factor;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { series * power }
}

/// The standard normal distribution function, within 1e-7 of it, by the complementary error
/// function's rational approximation (Press et al., "Numerical Recipes", 2nd ed., section 6.2).
#[inline(always)]
fn normal_below(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let z = (x * FRAC_1_SQRT_2).abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut series = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        series = series * t + coefficient;
    }
    let tail = 0.5 * t * exp(series - z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_exponential() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_function_has_its_known_values() {
        // scipy.stats.norm.cdf
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_8),
            (-1.0, 0.158_655_3),
            (2.5, 0.993_790_3),
            (-3.0, 0.001_349_898),
            (-0.1, 0.460_172_2),
        ] {
            assert!(
                (normal_below(x) - expected).abs() < 2e-7,
                "{x}: {}",
                normal_below(x)
            );
        }
    }
}
