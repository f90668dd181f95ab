//! Batch normalization on `[positions, channels]` slices, forward and backward, with an optional
//! residual and ReLU fused into the forward pass. Sums run in f32 over chunks of fixed size and in
//! f64, in order, over chunks, so they do not depend on threads.

mod backward;
mod forward;
mod moments;
pub(crate) mod rows;

pub use backward::{eval_input_gradient, input_gradient, parameter_gradients};
pub use forward::forward;
pub use moments::moments;

use crate::simd::LANES;

/// Per-channel parameters of `(x - mean) * inv_std * gamma + beta`, of batch statistics (training)
/// or running ones (evaluation).
#[derive(Clone, Debug)]
pub struct BatchNormParams {
    /// Mean.
    pub mean: Vec<f32>,
    /// 1 / sqrt(variance + eps).
    pub inv_std: Vec<f32>,
    /// Weight.
    pub gamma: Vec<f32>,
    /// Bias.
    pub beta: Vec<f32>,
}

/// Gradients of gamma and beta, per channel.
#[derive(Clone, Debug)]
pub struct ParameterGrads {
    /// Sum of `grad_output` times the normalized input.
    pub gamma: Vec<f32>,
    /// Sum of `grad_output`.
    pub beta: Vec<f32>,
}

/// Floats of a chunk, one task's work; a chunk stays in the L1 cache.
pub(crate) const CHUNK: usize = 4096;

/// How `[positions, channels]` is vectorized: channel counts that divide 16 are viewed as 16
/// channels, each repeated.
#[derive(Clone, Copy, Debug)]
struct ChannelView {
    channels: usize,
    /// The real channel count: channel `c` of the view is channel `c % period`.
    period: usize,
}

impl ChannelView {
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

    /// Per-channel values, repeated for each channel of the view.
    fn expand(&self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), self.period);
        values.iter().copied().cycle().take(self.channels).collect()
    }
}
