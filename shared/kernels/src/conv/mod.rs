//! Convolution on the CPU in its three directions: forward, gradient of the input, gradient of
//! the weight. NHWC slices come in, a new vector goes out. What is 3x3 with stride 1 goes by
//! [`winograd`], the rest by [`direct`]; the choice depends on the sizes of the weight alone, so a
//! image's result does not depend on its batch.

use rayon::prelude::*;

mod direct;
mod epilogue;
mod winograd;

pub use epilogue::Epilogue;

use self::{
    direct::{Panels, TransposedPanels},
    winograd::Filters,
};
use crate::shape::ConvShape;

/// With fewer channels than this, the transforms cost more than they save.
const FEW_CHANNELS: usize = 16;

fn is_winograd(geometry: &ConvShape) -> bool {
    let ConvShape {
        kernel,
        stride,
        padding,
        ..
    } = *geometry;
    (kernel, stride, padding) == (3, 1, 1)
        && geometry.input.channels.min(geometry.c_out) >= FEW_CHANNELS
}

/// A weight, packed for the forward direction.
#[derive(Clone, Debug)]
pub enum ForwardWeights {
    Winograd(Filters),
    Direct(Panels),
}

impl ForwardWeights {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(geometry: &ConvShape, weight: &[f32]) -> Self {
        assert_eq!(weight.len(), geometry.weight_numel());
        if is_winograd(geometry) {
            let (outputs, inputs) = (geometry.c_out, geometry.input.channels);
            Self::Winograd(Filters::forward(outputs, inputs, weight))
        } else {
            Self::Direct(Panels::new(geometry, weight))
        }
    }

    /// Output `[B,H',W',c_out]` of `input`, and what `epilogue` does to it.
    pub fn apply(&self, geometry: &ConvShape, input: &[f32], epilogue: Epilogue) -> Vec<f32> {
        match self {
            Self::Winograd(filters) => {
                winograd::correlate(geometry.input, input, filters, epilogue)
            }
            Self::Direct(panels) => direct::correlate(geometry, input, panels, epilogue),
        }
    }
}

/// A weight, packed for the input's gradient.
#[derive(Clone, Debug)]
pub enum InputGradWeights {
    Winograd(Filters),
    Direct(TransposedPanels),
}

impl InputGradWeights {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(geometry: &ConvShape, weight: &[f32]) -> Self {
        assert_eq!(weight.len(), geometry.weight_numel());
        if is_winograd(geometry) {
            let (outputs, inputs) = (geometry.c_out, geometry.input.channels);
            Self::Winograd(Filters::backward(outputs, inputs, weight))
        } else {
            Self::Direct(TransposedPanels::new(geometry, weight))
        }
    }

    /// Gradient of the input `[B,H,W,c_in]` from that of the output, and what `epilogue` does to it.
    pub fn apply(&self, geometry: &ConvShape, gradient: &[f32], epilogue: Epilogue) -> Vec<f32> {
        match self {
            Self::Winograd(filters) => {
                winograd::correlate(geometry.output(), gradient, filters, epilogue)
            }
            Self::Direct(panels) => direct::scatter(geometry, gradient, panels, epilogue),
        }
    }
}

/// Gradient of the weight, `[c_out, c_in, kernel, kernel]`.
pub fn weight_gradient(geometry: &ConvShape, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    if is_winograd(geometry) {
        winograd::filter_gradient(geometry.input, input, geometry.c_out, gradient)
    } else {
        direct::weight_gradient(geometry, input, gradient)
    }
}

/// Gradient of a bias that was added to every position: the sums of `[positions, channels]`.
pub fn bias_gradient(channels: usize, gradient: &[f32]) -> Vec<f32> {
    /// Positions that add up by themselves: the sums do not depend on the threads.
    const POSITIONS: usize = 256;
    let sums: Vec<Vec<f32>> = gradient
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
