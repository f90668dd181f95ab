//! Batch normalization with residual and ReLU on the CPU: contiguous `[positions, channels]`
//! slices and a few numbers per channel come in, new vectors go out. Sums run over a fixed number
//! of positions in f32, over those in f64 and in order, so that no thread shows in them.

mod backward;
mod forward;
mod moments;
pub(crate) mod rows;

pub use backward::{input_gradient, parameter_gradients};
pub use forward::forward;
pub use moments::moments;

use crate::simd::LANES;

/// What normalization does to a channel: `(x - mean) * inv_std * gamma + beta`.
#[derive(Clone, Debug)]
pub struct BatchNormParams {
    /// What is taken away.
    pub mean: Vec<f32>,
    /// 1 / sqrt(variance + eps).
    pub inv_std: Vec<f32>,
    /// Factor.
    pub gamma: Vec<f32>,
    /// Shift.
    pub beta: Vec<f32>,
}

/// What a channel's gradients add up to.
#[derive(Clone, Debug)]
pub struct ParameterGrads {
    /// Of the gradient times the normalized input: gamma's gradient.
    pub gamma: Vec<f32>,
    /// Of the gradient: beta's gradient.
    pub beta: Vec<f32>,
}

/// Floats that a task works on at a time; they stay in the nearest cache.
pub(crate) const CHUNK: usize = 4096;

/// How `[positions, channels]` is worked on: channels of which a whole number makes sixteen lanes
/// are seen as sixteen channels.
#[derive(Clone, Copy, Debug)]
struct View {
    channels: usize,
    /// Every channel of the view's, after so many others, is the same again.
    period: usize,
}

impl View {
    fn new(channels: usize, len: usize) -> Self {
        assert!(channels > 0 && len.is_multiple_of(channels));
        let folds = LANES.is_multiple_of(channels) && len.is_multiple_of(LANES);
        Self {
            channels: if folds { LANES } else { channels },
            period: channels,
        }
    }

    /// Floats of a chunk.
    fn chunk(&self) -> usize {
        (CHUNK / self.channels).max(16) * self.channels
    }

    /// One number for each channel of the view.
    fn spread(&self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), self.period);
        values.iter().copied().cycle().take(self.channels).collect()
    }
}
