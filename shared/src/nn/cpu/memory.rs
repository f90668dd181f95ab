//! Memory for results: a length and a function that writes every float come in, the vector goes
//! out. Nothing is cleared first: that would cost a tenth of a convolution.

use std::mem::MaybeUninit;

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
