//! Scratch memory and uninitialized results. Result vectors are not zeroed before they are written
//! (zeroing would cost a tenth of a convolution); scratch memory is kept per thread and reused.

use std::{cell::RefCell, mem::MaybeUninit};

use crate::simd::LANES;

/// A vector of `len` floats, initialized by `write`.
///
/// # Safety
/// `write` writes every float.
pub unsafe fn uninit_vec(len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is `len`, and all floats are initialized, as the caller promises.
    unsafe { values.set_len(len) };
    values
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `compute` with scratch slices of these lengths: contents arbitrary, starts aligned to cache
/// lines. A nested call allocates anew.
pub fn with_scratch<const N: usize, R>(
    lens: [usize; N],
    compute: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    let lines = |len: usize| len.next_multiple_of(LANES);
    let mut memory = SCRATCH.take();
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
    SCRATCH.set(memory);
    result
}

/// A mutable slice shared among tasks that write disjoint parts.
#[derive(Clone, Copy)]
pub struct DisjointSlice<'a> {
    start: *mut f32,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: floats may be written by any thread; `ptr_at` states what its callers promise.
unsafe impl Send for DisjointSlice<'_> {}
// SAFETY: as above.
unsafe impl Sync for DisjointSlice<'_> {}

impl<'a> DisjointSlice<'a> {
    /// Shares `slice`.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: std::marker::PhantomData,
        }
    }

    /// Shares an uninitialized slice.
    pub fn from_uninit(slice: &'a mut [MaybeUninit<f32>]) -> Self {
        Self {
            start: slice.as_mut_ptr().cast(),
            len: slice.len(),
            slice: std::marker::PhantomData,
        }
    }

    /// Pointer to element `index`.
    ///
    /// # Safety
    /// Writes from there on stay in the slice, and no two tasks write the same element.
    pub unsafe fn ptr_at(&self, index: usize) -> *mut f32 {
        assert!(index < self.len);
        // SAFETY: inside the slice, as asserted.
        unsafe { self.start.add(index) }
    }
}
