//! Portable vectors: plain arrays, vectorized by the compiler as far as it can.

use std::ops::{Add, Mul, Sub};

use super::{F32x16, LANES};

/// Sixteen floats in an array.
#[derive(Clone, Copy, Debug)]
pub struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

operator!(Portable, Add, add, |a, b| a.zip(b, |x, y| x + y));
operator!(Portable, Sub, sub, |a, b| a.zip(b, |x, y| x - y));
operator!(Portable, Mul, mul, |a, b| a.zip(b, |x, y| x * y));

impl F32x16 for Portable {
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }

    #[inline(always)]
    fn max(self, floor: f32) -> Self {
        Self(
            self.0
                .map(|value| if value < floor { floor } else { value }),
        )
    }

    #[inline(always)]
    fn mask_positive(self, gate: Self) -> Self {
        self.zip(gate, |value, gate| if gate > 0.0 { value } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: 16 floats, as the caller promises, at any alignment.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
}
