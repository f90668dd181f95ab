//! x86-64 vectors: one AVX-512 register, or two AVX2 registers.

use std::{
    arch::x86_64::*,
    ops::{Add, Mul, Sub},
};

use super::{F32x16, Kernel, LANES};

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

// SAFETY of all that follows: vectors of a type exist only inside the function that is entered
// after their instruction set has been detected; pointers are the callers' responsibility.

operator!(Avx512, Add, add, |a, b| unsafe {
    Self(_mm512_add_ps(a.0, b.0))
});
operator!(Avx512, Sub, sub, |a, b| unsafe {
    Self(_mm512_sub_ps(a.0, b.0))
});
operator!(Avx512, Mul, mul, |a, b| unsafe {
    Self(_mm512_mul_ps(a.0, b.0))
});

impl F32x16 for Avx512 {
    const ROWS: usize = 16;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
    }

    #[inline(always)]
    fn max(self, floor: f32) -> Self {
        // If either is NaN, the instruction returns its second argument.
        Self(unsafe { _mm512_max_ps(_mm512_set1_ps(floor), self.0) })
    }

    #[inline(always)]
    fn mask_positive(self, gate: Self) -> Self {
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
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        Self(unsafe { _mm512_maskz_loadu_ps(mask(count), from) })
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, mask(count), self.0) }
    }
}

/// Mask of the first `count` of 16 lanes.
#[inline(always)]
fn mask(count: usize) -> __mmask16 {
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

impl F32x16 for Avx2 {
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        let half = unsafe { _mm256_set1_ps(value) };
        Self(half, half)
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        unsafe {
            Self(
                _mm256_fmadd_ps(self.0, factor.0, term.0),
                _mm256_fmadd_ps(self.1, factor.1, term.1),
            )
        }
    }

    #[inline(always)]
    fn max(self, floor: f32) -> Self {
        // If either is NaN, the instruction returns its second argument.
        unsafe {
            let floor = _mm256_set1_ps(floor);
            Self(_mm256_max_ps(floor, self.0), _mm256_max_ps(floor, self.1))
        }
    }

    #[inline(always)]
    fn mask_positive(self, gate: Self) -> Self {
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
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        unsafe {
            if count == LANES {
                return Self::load(from);
            }
            let (low, high) = masks(count);
            Self(
                _mm256_maskload_ps(from, low),
                _mm256_maskload_ps(from.wrapping_add(LANES / 2), high),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        unsafe {
            if count == LANES {
                return self.store(to);
            }
            let (low, high) = masks(count);
            _mm256_maskstore_ps(to, low, self.0);
            _mm256_maskstore_ps(to.wrapping_add(LANES / 2), high, self.1);
        }
    }
}

/// Masks of the first `count` of 16 lanes, for two registers.
#[inline(always)]
unsafe fn masks(count: usize) -> (__m256i, __m256i) {
    /// Of the 16 numbers from index `16 - n` on, the first n are set.
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
