//! Sixteen floats side by side, on whatever registers the processor has. A kernel written once
//! over [`Lanes`] comes in; [`dispatch`] runs it compiled for AVX-512, for AVX2 or for any
//! processor, whichever is the best here. Sums may differ between processors in the last bits
//! (some fuse a multiplication and an addition), never between numbers of threads.

use std::ops::{Add, Mul, Sub};

/// Floats in one [`Lanes`].
pub const LANES: usize = 16;

/// Sixteen floats in registers.
pub trait Lanes: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// How many sums of a product stay in registers next to what they are made of.
    const ROWS: usize;

    /// The same float sixteen times.
    fn splat(value: f32) -> Self;

    /// `self * factor + term`.
    fn times_plus(self, factor: Self, term: Self) -> Self;

    /// The larger of each two; of a number and a NaN in `self`, the NaN.
    fn at_least(self, floor: f32) -> Self;

    /// The lanes of `self` where those of `gate` are above zero, and zero elsewhere.
    fn where_positive(self, gate: Self) -> Self;

    /// # Safety
    /// `from` points to 16 floats.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// `to` points to memory for 16 floats.
    unsafe fn store(self, to: *mut f32);

    /// The first `count` lanes from memory, zeros in the others.
    ///
    /// # Safety
    /// `from` points to `count` floats; `count` is at most 16.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: `count` floats are read into a place for 16, as the caller promises.
        unsafe {
            if count == LANES {
                return Self::load(from);
            }
            let mut all = [0.0; LANES];
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
            Self::load(all.as_ptr())
        }
    }

    /// Writes the first `count` lanes.
    ///
    /// # Safety
    /// `to` points to memory for `count` floats; `count` is at most 16.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: `count` of 16 floats are written, as the caller promises.
        unsafe {
            if count == LANES {
                return self.store(to);
            }
            let mut all = [0.0; LANES];
            self.store(all.as_mut_ptr());
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
        }
    }
}

/// Something to compute, written over [`Lanes`]. `run` and all it calls with lanes must be
/// `#[inline(always)]`, so that they are compiled with the lanes' instructions: no closures on
/// lanes, and so no `map` or `from_fn`.
pub trait Kernel {
    /// What comes out.
    type Output;

    /// Computes it.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel with the widest registers of this processor.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the feature, as just asked.
            return unsafe { x86::with_avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has both features, as just asked.
            return unsafe { x86::with_avx2(kernel) };
        }
    }
    kernel.run::<Portable>()
}

/// An operator on lanes; not by a closure, which might stay a call without the instructions.
macro_rules! operator {
    ($lanes:ty, $trait:ident, $method:ident, |$a:ident, $b:ident| $result:expr) => {
        impl $trait for $lanes {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $result
            }
        }
    };
}

/// For any processor: plain arrays, which the compiler vectorises as it can.
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

impl Lanes for Portable {
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }

    #[inline(always)]
    fn at_least(self, floor: f32) -> Self {
        Self(
            self.0
                .map(|value| if value < floor { floor } else { value }),
        )
    }

    #[inline(always)]
    fn where_positive(self, gate: Self) -> Self {
        self.zip(gate, |value, gate| if gate > 0.0 { value } else { 0.0 })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: 16 floats, as the caller promises; an array of floats may lie anywhere.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Add, Kernel, LANES, Lanes, Mul, Sub};
    use std::arch::x86_64::*;

    /// # Safety
    /// The processor has AVX-512F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    /// # Safety
    /// The processor has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    /// One register; exists only inside [`with_avx512`].
    #[derive(Clone, Copy, Debug)]
    struct Avx512(__m512);

    // SAFETY of all that follows: lanes of a kind are made only inside the function that was
    // entered after the processor was asked for their instructions; pointers are the callers'.

    operator!(Avx512, Add, add, |a, b| unsafe {
        Self(_mm512_add_ps(a.0, b.0))
    });
    operator!(Avx512, Sub, sub, |a, b| unsafe {
        Self(_mm512_sub_ps(a.0, b.0))
    });
    operator!(Avx512, Mul, mul, |a, b| unsafe {
        Self(_mm512_mul_ps(a.0, b.0))
    });

    impl Lanes for Avx512 {
        const ROWS: usize = 16;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn times_plus(self, factor: Self, term: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        }

        #[inline(always)]
        fn at_least(self, floor: f32) -> Self {
            // Of a NaN and a number, the instruction returns its second argument.
            Self(unsafe { _mm512_max_ps(_mm512_set1_ps(floor), self.0) })
        }

        #[inline(always)]
        fn where_positive(self, gate: Self) -> Self {
            unsafe {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate.0, _mm512_setzero_ps());
                Self(_mm512_maskz_mov_ps(positive, self.0))
            }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            Self(unsafe { _mm512_maskz_loadu_ps(first(count), from) })
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
        }
    }

    /// The first `count` of 16 lanes.
    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        ((1u32 << count) - 1) as __mmask16
    }

    /// Two registers; exists only inside [`with_avx2`].
    #[derive(Clone, Copy, Debug)]
    struct Avx2(__m256, __m256);

    operator!(Avx2, Add, add, |a, b| unsafe {
        Self(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1))
    });
    operator!(Avx2, Sub, sub, |a, b| unsafe {
        Self(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1))
    });
    operator!(Avx2, Mul, mul, |a, b| unsafe {
        Self(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1))
    });

    impl Lanes for Avx2 {
        const ROWS: usize = 6;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            let half = unsafe { _mm256_set1_ps(value) };
            Self(half, half)
        }

        #[inline(always)]
        fn times_plus(self, factor: Self, term: Self) -> Self {
            unsafe {
                Self(
                    _mm256_fmadd_ps(self.0, factor.0, term.0),
                    _mm256_fmadd_ps(self.1, factor.1, term.1),
                )
            }
        }

        #[inline(always)]
        fn at_least(self, floor: f32) -> Self {
            // Of a NaN and a number, the instruction returns its second argument.
            unsafe {
                let floor = _mm256_set1_ps(floor);
                Self(_mm256_max_ps(floor, self.0), _mm256_max_ps(floor, self.1))
            }
        }

        #[inline(always)]
        fn where_positive(self, gate: Self) -> Self {
            unsafe {
                let zero = _mm256_setzero_ps();
                let low = _mm256_cmp_ps::<_CMP_GT_OQ>(gate.0, zero);
                let high = _mm256_cmp_ps::<_CMP_GT_OQ>(gate.1, zero);
                Self(_mm256_and_ps(low, self.0), _mm256_and_ps(high, self.1))
            }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(LANES / 2))) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(LANES / 2), self.1);
            }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            unsafe {
                if count == LANES {
                    return Self::load(from);
                }
                let (low, high) = halves(count);
                Self(
                    _mm256_maskload_ps(from, low),
                    _mm256_maskload_ps(from.wrapping_add(LANES / 2), high),
                )
            }
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe {
                if count == LANES {
                    return self.store(to);
                }
                let (low, high) = halves(count);
                _mm256_maskstore_ps(to, low, self.0);
                _mm256_maskstore_ps(to.wrapping_add(LANES / 2), high, self.1);
            }
        }
    }

    /// The first `count` of 16 lanes, as masks of two registers.
    #[inline(always)]
    unsafe fn halves(count: usize) -> (__m256i, __m256i) {
        /// From number `16 - n` on, the first n of the next 16 are set.
        static MASKS: [i32; 32] = {
            let mut masks = [0; 32];
            let mut i = 0;
            while i < LANES {
                masks[i] = -1;
                i += 1;
            }
            masks
        };
        unsafe {
            let masks = MASKS.as_ptr().add(LANES - count);
            (
                _mm256_loadu_si256(masks.cast()),
                _mm256_loadu_si256(masks.add(LANES / 2).cast()),
            )
        }
    }
}
