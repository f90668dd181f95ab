//! Two-dimensional convolution of NHWC images: forward, gradients of input, weight and bias.
//!
//! 3x3 convolutions of stride 1 and padding 1 with enough channels run by Winograd's algorithm
//! (`winograd`), all others as a direct product of windows and weights (`direct`). The choice
//! depends on the shape of the weight alone, so the result of an image does not depend on its
//! batch.

use rayon::prelude::*;

mod direct;
mod epilogue;
mod winograd;

pub use epilogue::Epilogue;

use self::{
    direct::{PackedWeights, TransposedWeights},
    winograd::WinogradWeights,
};
use crate::shape::ConvShape;

/// With fewer input or output channels than this, Winograd transforms cost more than they save.
const MIN_WINOGRAD_CHANNELS: usize = 16;

fn uses_winograd(shape: &ConvShape) -> bool {
    let ConvShape {
        kernel,
        stride,
        padding,
        ..
    } = *shape;
    (kernel, stride, padding) == (3, 1, 1)
        && shape.input.channels.min(shape.c_out) >= MIN_WINOGRAD_CHANNELS
}

/// Weights packed for the forward pass (also: the input gradient of a transposed convolution).
#[derive(Clone, Debug)]
pub enum ForwardWeights {
    Winograd(WinogradWeights),
    Direct(PackedWeights),
}

impl ForwardWeights {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        assert_eq!(weight.len(), shape.weight_numel());
        if uses_winograd(shape) {
            let (outputs, inputs) = (shape.c_out, shape.input.channels);
            Self::Winograd(WinogradWeights::for_forward(outputs, inputs, weight))
        } else {
            Self::Direct(PackedWeights::new(shape, weight))
        }
    }

    /// Output `[B,H',W',c_out]` of `input` `[B,H,W,c_in]`, after `epilogue`.
    pub fn apply(&self, shape: &ConvShape, input: &[f32], epilogue: Epilogue) -> Vec<f32> {
        match self {
            Self::Winograd(packed) => winograd::conv2d(shape.input, input, packed, epilogue),
            Self::Direct(packed) => direct::conv2d(shape, input, packed, epilogue),
        }
    }
}

/// Weights packed for the input gradient (also: the forward pass of a transposed convolution).
#[derive(Clone, Debug)]
pub enum InputGradWeights {
    Winograd(WinogradWeights),
    Direct(TransposedWeights),
}

impl InputGradWeights {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        assert_eq!(weight.len(), shape.weight_numel());
        if uses_winograd(shape) {
            let (outputs, inputs) = (shape.c_out, shape.input.channels);
            Self::Winograd(WinogradWeights::for_input_gradient(outputs, inputs, weight))
        } else {
            Self::Direct(TransposedWeights::new(shape, weight))
        }
    }

    /// Gradient of the input `[B,H,W,c_in]`, after `epilogue`; `grad_output` is `[B,H',W',c_out]`.
    pub fn apply(&self, shape: &ConvShape, grad_output: &[f32], epilogue: Epilogue) -> Vec<f32> {
        match self {
            Self::Winograd(packed) => {
                winograd::conv2d(shape.output(), grad_output, packed, epilogue)
            }
            Self::Direct(packed) => direct::input_gradient(shape, grad_output, packed, epilogue),
        }
    }
}

/// Gradient of the weight, `[c_out, c_in, kernel, kernel]`.
pub fn weight_gradient(shape: &ConvShape, input: &[f32], grad_output: &[f32]) -> Vec<f32> {
    if uses_winograd(shape) {
        winograd::weight_gradient(shape.input, input, shape.c_out, grad_output)
    } else {
        direct::weight_gradient(shape, input, grad_output)
    }
}

/// Gradient of a bias per channel: the sums over positions of `grad_output`
/// `[positions, channels]`.
pub fn bias_gradient(channels: usize, grad_output: &[f32]) -> Vec<f32> {
    /// Positions summed in f32 before f64 takes over: fixed, so that sums do not depend on threads.
    const POSITIONS: usize = 256;
    let sums: Vec<Vec<f32>> = grad_output
        .par_chunks(POSITIONS * channels)
        .map(|rows| {
            let mut sums = vec![0.0; channels];
            for row in rows.chunks_exact(channels) {
                sums.iter_mut()
                    .zip(row)
                    .for_each(|(sum, value)| *sum += value);
            }
            sums
        })
        .collect();
    let total = |channel: usize| {
        sums.iter()
            .map(|sums| f64::from(sums[channel]))
            .sum::<f64>()
    };
    (0..channels).map(|channel| total(channel) as f32).collect()
}
