//! Convolution epilogue: bias, residual, ReLU and ReLU mask, applied to the sums while they are in
//! registers, which saves passes over memory.

use crate::simd::F32x16;

/// `relu(sum + bias + residual)`, zeroed where `relu_output` is not positive. Every part is
/// optional.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Added per channel, `[channels]`.
    pub bias: Option<&'a [f32]>,
    /// Added per output; the shape of the output.
    pub residual: Option<&'a [f32]>,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Output of a ReLU, of the shape of the result: where it is not positive, the result is zero.
    /// This is the backward pass of that ReLU, fused into the input gradient of the convolution
    /// after it.
    pub relu_output: Option<&'a [f32]>,
}

impl<'a> Epilogue<'a> {
    /// The epilogue of the outputs from number `first` on.
    pub fn from(self, first: usize) -> Self {
        Self {
            residual: self.residual.map(|residual| &residual[first..]),
            relu_output: self.relu_output.map(|relu_output| &relu_output[first..]),
            ..self
        }
    }

    /// Applies it to `count` channels of one position: outputs from number `at` on, channels from
    /// `channel` on.
    #[inline(always)]
    pub fn apply<V: F32x16>(self, sum: V, at: usize, channel: usize, count: usize) -> V {
        let mut value = sum;
        // SAFETY: the slices have `count` floats, or slicing would have panicked.
        unsafe {
            if let Some(bias) = self.bias {
                value = value + V::load_partial(bias[channel..][..count].as_ptr(), count);
            }
            if let Some(residual) = self.residual {
                value = value + V::load_partial(residual[at..][..count].as_ptr(), count);
            }
            if let Some(relu_output) = self.relu_output {
                value = value
                    .mask_positive(V::load_partial(relu_output[at..][..count].as_ptr(), count));
            }
        }
        if self.relu { value.max(0.0) } else { value }
    }
}
