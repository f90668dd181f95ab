//! Memory for results: a length and a function that writes every float come in, the vector goes
//! out. Nothing is cleared first: that would cost a tenth of a convolution. And memory for what lies
//! between, which every thread keeps for the next time.

use std::{cell::RefCell, mem::MaybeUninit};

use crate::simd::LANES;

/// `len` floats as `write` leaves them.
///
/// # Safety
/// `write` writes every float.
pub unsafe fn written(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: there is room for `len`, and all are written, as the caller promises.
    unsafe { values.set_len(len) };
    values
}

thread_local! {
    static SPARE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `compute` with slices of these lengths, which hold anything and start at whole lines of the
/// cache.
pub fn with_scratch<const N: usize, R>(
    lens: [usize; N],
    compute: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    let lines = |len: usize| len.next_multiple_of(LANES);
    let mut memory = SPARE.take();
    let needed = lens.map(lines).iter().sum::<usize>() + LANES;
    if memory.len() < needed {
        memory = vec![0.0; needed];
    }
    let start = memory.as_ptr().align_offset(LANES * size_of::<f32>());
    let mut rest = &mut memory[start..];
    let result = compute(lens.map(|len| {
        let slice = rest.split_off_mut(..lines(len)).unwrap_or_default();
        &mut slice[..len]
    }));
    SPARE.set(memory);
    result
}

/// A slice that several tasks write, each its own part.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a pointer to floats, which any thread may have; `at` says what its users promise.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Shares `slice`.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: std::marker::PhantomData,
        }
    }

    /// Shares what is not written yet.
    pub fn unwritten(slice: &'a mut [MaybeUninit<f32>]) -> Self {
        Self {
            start: slice.as_mut_ptr().cast(),
            len: slice.len(),
            slice: std::marker::PhantomData,
        }
    }

    /// The place of number `at`.
    ///
    /// # Safety
    /// What is written from there on lies in the slice, and no two tasks write the same.
    pub unsafe fn at(&self, at: usize) -> *mut f32 {
        assert!(at < self.len);
        // SAFETY: inside the slice, as asserted.
        unsafe { self.start.add(at) }
    }
}
