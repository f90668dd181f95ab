//! Sixteen floats side by side, on whatever registers the processor has. A kernel written once
//! over [`Lanes`] comes in; [`dispatch`] runs it compiled for AVX-512, for AVX2 or for any
//! processor, whichever is the best here. Sums may differ between processors in the last bits
//! (some fuse a multiplication and an addition), never between numbers of threads.

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

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

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

/// Asks for the memory there, which need not be anybody's, to be in the cache when it is read.
#[inline(always)]
pub fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction reads nothing that the program could see, and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
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

/// [`Lanes::ROWS`] on this processor.
pub fn rows_in_registers() -> usize {
    struct Rows;

    impl Kernel for Rows {
        type Output = usize;

        #[inline(always)]
        fn run<L: Lanes>(self) -> usize {
            L::ROWS
        }
    }

    dispatch(Rows)
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
    kernel.run::<portable::Portable>()
}
