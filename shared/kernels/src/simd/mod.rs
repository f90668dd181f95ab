//! Portable SIMD: vectors of 16 floats over AVX-512, AVX2 with FMA, or plain arrays. A [`Kernel`]
//! is written once over [`F32x16`]; [`dispatch`] runs the version compiled for the best instruction
//! set of this processor. Last bits may differ between instruction sets (with or without fused
//! multiply-add), never between numbers of threads.

/// Implements an operator on vectors. Not by a closure: that might stay a call, compiled without
/// the vector instructions.
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

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, Mul, Sub};

/// Floats in an [`F32x16`].
pub const LANES: usize = 16;

/// A vector of 16 floats in registers.
pub trait F32x16: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// Rows of a register block: as many sums as fit into registers next to the operands.
    const ROWS: usize;

    /// All lanes set to `value`.
    fn splat(value: f32) -> Self;

    /// `self * factor + term`.
    fn mul_add(self, factor: Self, term: Self) -> Self;

    /// Lanewise maximum with `floor`; NaN lanes of `self` stay NaN.
    fn max(self, floor: f32) -> Self;

    /// The lanes of `self` where those of `gate` are positive, 0 elsewhere.
    fn mask_positive(self, gate: Self) -> Self;

    /// # Safety
    /// `from` points to 16 floats.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// `to` points to memory for 16 floats.
    unsafe fn store(self, to: *mut f32);

    /// Loads the first `count` lanes, zeros in the others.
    ///
    /// # Safety
    /// `from` points to `count` floats; `count` is at most 16.
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        // SAFETY: `count` floats are copied into an array of 16, as the caller promises.
        unsafe {
            if count == LANES {
                return Self::load(from);
            }
            let mut all = [0.0; LANES];
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
            Self::load(all.as_ptr())
        }
    }

    /// Stores the first `count` lanes.
    ///
    /// # Safety
    /// `to` points to memory for `count` floats; `count` is at most 16.
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
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

/// Prefetches the cache line of `from`, which may be any address.
#[inline(always)]
pub fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and has no visible effect.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// A computation over [`F32x16`]. `run` and all functions of vectors it calls must be
/// `#[inline(always)]`, so that they are compiled with the instruction set chosen by [`dispatch`];
/// closures on vectors (`map`, `from_fn`) are not.
pub trait Kernel {
    /// Result.
    type Output;

    /// Computes it.
    fn run<V: F32x16>(self) -> Self::Output;
}

/// [`F32x16::ROWS`] on this processor.
pub fn register_rows() -> usize {
    struct Rows;

    impl Kernel for Rows {
        type Output = usize;

        #[inline(always)]
        fn run<V: F32x16>(self) -> usize {
            V::ROWS
        }
    }

    dispatch(Rows)
}

/// Runs `kernel`, compiled for the best instruction set of this processor.
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature has just been detected.
            return unsafe { x86::with_avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: both features have just been detected.
            return unsafe { x86::with_avx2(kernel) };
        }
    }
    kernel.run::<portable::Portable>()
}
