//! Batch normalisation with residual and ReLU on the CPU: contiguous `[B,C,positions]` slices and
//! a few numbers per channel come in, new vectors go out. Sums run over one plane in 16 lanes of
//! f32, over planes in f64 and in order.

use rayon::prelude::*;

/// Sizes of a batch of planes.
#[derive(Clone, Copy, Debug)]
pub struct Planes {
    /// Pictures.
    pub images: usize,
    /// Channels of one picture.
    pub channels: usize,
    /// Floats of one plane.
    pub positions: usize,
}

/// What normalisation does to a channel: `(x - mean) * deviation^-1 * gamma + beta`.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Mean that is taken away.
    pub mean: f32,
    /// 1 / sqrt(variance + eps).
    pub inverse: f32,
    /// Factor.
    pub gamma: f32,
    /// Shift.
    pub beta: f32,
}

/// Sums over a channel that the backward pass needs.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    /// Sum of the gradient times the normalised input: gamma's gradient.
    pub gamma: f32,
    /// Sum of the gradient: beta's gradient.
    pub beta: f32,
}

/// Mean and (biased) variance per channel.
pub fn moments(planes: Planes, x: &[f32]) -> Vec<(f64, f64)> {
    let count = (planes.images * planes.positions) as f64;
    per_channel(planes, |channel| {
        let mean = channel_sum(planes, channel, |plane| {
            sum(x[plane].chunks(LANES), |chunk, lanes| {
                chunk.iter().zip(lanes).for_each(|(x, lane)| *lane += x)
            })
        }) / count;
        let shift = mean as f32;
        let square = channel_sum(planes, channel, |plane| {
            sum(x[plane].chunks(LANES), |chunk, lanes| {
                for (x, lane) in chunk.iter().zip(lanes) {
                    *lane += (x - shift) * (x - shift);
                }
            })
        }) / count;
        // The mean was rounded to f32 for the second pass; put that back.
        (mean, square - (mean - f64::from(shift)).powi(2))
    })
}

/// `relu(normalise(x) + residual)`; residual and ReLU are optional.
pub fn forward(
    planes: Planes,
    channels: &[Channel],
    x: &[f32],
    residual: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    out.par_chunks_mut(planes.positions)
        .with_min_len(16)
        .zip(x.par_chunks(planes.positions))
        .enumerate()
        .for_each(|(plane, (out, x))| {
            let c = channels[plane % planes.channels];
            let scale = c.inverse * c.gamma;
            match residual {
                None => {
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = floor_at((x - c.mean) * scale + c.beta, floor);
                    }
                }
                Some(residual) => {
                    let residual = &residual[plane * planes.positions..][..x.len()];
                    for ((out, x), r) in out.iter_mut().zip(x).zip(residual) {
                        *out = floor_at((x - c.mean) * scale + c.beta + r, floor);
                    }
                }
            }
        });
    out
}

/// A NaN stays a NaN, so that a broken net cannot hide behind its ReLUs.
#[inline(always)]
fn floor_at(value: f32, floor: f32) -> f32 {
    if value < floor { floor } else { value }
}

/// The gradient behind the ReLU: `gradient` where `y` is positive, else 0.
pub fn through_relu(y: &[f32], gradient: &[f32]) -> Vec<f32> {
    const CHUNK: usize = 16 * 1024;
    let mut out = vec![0.0; y.len()];
    out.par_chunks_mut(CHUNK)
        .zip(y.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)))
        .for_each(|(out, (y, gradient))| {
            for ((out, y), g) in out.iter_mut().zip(y).zip(gradient) {
                *out = if *y > 0.0 { *g } else { 0.0 };
            }
        });
    out
}

/// Gradients of gamma and beta.
pub fn parameter_gradients(
    planes: Planes,
    channels: &[Channel],
    x: &[f32],
    gradient: &[f32],
) -> Vec<Gradient> {
    per_channel(planes, |channel| {
        let c = channels[channel];
        let beta = channel_sum(planes, channel, |plane| {
            sum(gradient[plane].chunks(LANES), |chunk, lanes| {
                chunk.iter().zip(lanes).for_each(|(g, lane)| *lane += g)
            })
        });
        let gamma = channel_sum(planes, channel, |plane| {
            let pairs = x[plane.clone()]
                .chunks(LANES)
                .zip(gradient[plane].chunks(LANES));
            sum(pairs, |(x, g), lanes| {
                for ((x, g), lane) in x.iter().zip(g).zip(lanes) {
                    *lane += (x - c.mean) * g;
                }
            })
        });
        Gradient {
            gamma: (gamma * f64::from(c.inverse)) as f32,
            beta: beta as f32,
        }
    })
}

/// Gradient of the input. With `sums` the mean and variance are functions of the input
/// (training); without they are constants (evaluation).
pub fn input_gradient(
    planes: Planes,
    channels: &[Channel],
    x: &[f32],
    gradient: &[f32],
    sums: Option<&[Gradient]>,
) -> Vec<f32> {
    let count = (planes.images * planes.positions) as f32;
    let mut out = vec![0.0; gradient.len()];
    out.par_chunks_mut(planes.positions)
        .with_min_len(16)
        .zip(gradient.par_chunks(planes.positions))
        .enumerate()
        .for_each(|(plane, (out, gradient))| {
            let channel = plane % planes.channels;
            let c = channels[channel];
            let scale = c.inverse * c.gamma;
            match sums {
                None => {
                    for (out, g) in out.iter_mut().zip(gradient) {
                        *out = g * scale;
                    }
                }
                Some(sums) => {
                    let x = &x[plane * planes.positions..][..out.len()];
                    let shift = sums[channel].beta / count;
                    let slope = sums[channel].gamma / count * c.inverse;
                    for ((out, g), x) in out.iter_mut().zip(gradient).zip(x) {
                        *out = (g - shift - (x - c.mean) * slope) * scale;
                    }
                }
            }
        });
    out
}

const LANES: usize = 16;

fn per_channel<T: Send>(planes: Planes, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    // A task should be worth some microseconds.
    let channels = 16 * 1024 / (planes.images * planes.positions).max(1);
    (0..planes.channels)
        .into_par_iter()
        .with_min_len(channels.max(1))
        .map(f)
        .collect()
}

/// The sum over a channel's planes of what `plane_sum` says of each plane's range.
fn channel_sum(
    planes: Planes,
    channel: usize,
    plane_sum: impl Fn(std::ops::Range<usize>) -> f32,
) -> f64 {
    (0..planes.images)
        .map(|image| (image * planes.channels + channel) * planes.positions)
        .map(|start| f64::from(plane_sum(start..start + planes.positions)))
        .sum()
}

#[inline(always)]
fn sum<I>(chunks: impl Iterator<Item = I>, add: impl Fn(I, &mut [f32; LANES])) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        add(chunk, &mut lanes);
    }
    lanes.iter().sum()
}
