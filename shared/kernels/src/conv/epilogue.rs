//! What happens to a convolution's sums before they are stored: a bias for each channel, a
//! residual, the ReLU. Done here it costs no pass over memory.

use crate::simd::Lanes;

/// `activate(sum + bias + residual)`, zero where the relu_output is not positive; each part is optional.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One number for each channel.
    pub bias: Option<&'a [f32]>,
    /// One number for each output, or from some output on.
    pub residual: Option<&'a [f32]>,
    /// Cut below zero.
    pub relu: bool,
    /// One number for each output, or from some output on: what went through a ReLU, whose
    /// gradient this is.
    pub relu_output: Option<&'a [f32]>,
}

impl<'a> Epilogue<'a> {
    /// That of the outputs from number `first` on.
    pub fn from(self, first: usize) -> Self {
        Self {
            residual: self.residual.map(|residual| &residual[first..]),
            relu_output: self.relu_output.map(|relu_output| &relu_output[first..]),
            ..self
        }
    }

    /// Of the `count` outputs from number `at` on, which belong to the channels from `channel` on.
    #[inline(always)]
    pub fn apply<L: Lanes>(self, sum: L, at: usize, channel: usize, count: usize) -> L {
        let mut value = sum;
        // SAFETY: the slices have `count` numbers, or taking them would panic.
        unsafe {
            if let Some(bias) = self.bias {
                value = value + L::load_first(bias[channel..][..count].as_ptr(), count);
            }
            if let Some(residual) = self.residual {
                value = value + L::load_first(residual[at..][..count].as_ptr(), count);
            }
            if let Some(relu_output) = self.relu_output {
                value =
                    value.where_positive(L::load_first(relu_output[at..][..count].as_ptr(), count));
            }
        }
        if self.relu {
            value.at_least(0.0)
        } else {
            value
        }
    }
}
