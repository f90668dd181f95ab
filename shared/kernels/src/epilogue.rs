//! What happens to a convolution's sums before they are stored: a shift for each channel, a
//! residual, the ReLU. Done here it costs no pass over memory.

use super::lanes::Lanes;

/// `activate(sum + shift + residual)`, zero where the gate is not positive; each part is optional.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One number for each channel.
    pub shift: Option<&'a [f32]>,
    /// One number for each output, or from some output on.
    pub residual: Option<&'a [f32]>,
    /// Cut below zero.
    pub relu: bool,
    /// One number for each output, or from some output on: what went through a ReLU, whose
    /// gradient this is.
    pub gate: Option<&'a [f32]>,
}

impl<'a> Epilogue<'a> {
    /// That of the outputs from number `first` on.
    pub fn from(self, first: usize) -> Self {
        Self {
            residual: self.residual.map(|residual| &residual[first..]),
            gate: self.gate.map(|gate| &gate[first..]),
            ..self
        }
    }

    /// Of the `count` outputs from number `at` on, which belong to the channels from `channel` on.
    #[inline(always)]
    pub fn apply<L: Lanes>(self, sum: L, at: usize, channel: usize, count: usize) -> L {
        let mut value = sum;
        // SAFETY: the slices have `count` numbers, or taking them would panic.
        unsafe {
            if let Some(shift) = self.shift {
                value = value + L::load_first(shift[channel..][..count].as_ptr(), count);
            }
            if let Some(residual) = self.residual {
                value = value + L::load_first(residual[at..][..count].as_ptr(), count);
            }
            if let Some(gate) = self.gate {
                value = value.where_positive(L::load_first(gate[at..][..count].as_ptr(), count));
            }
        }
        if self.relu {
            value.at_least(0.0)
        } else {
            value
        }
    }
}
