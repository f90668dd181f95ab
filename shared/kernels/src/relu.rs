//! The gradient behind a ReLU.

use rayon::prelude::*;

use crate::batch_norm::{
    CHUNK,
    rows::{blocks, load_block},
};
use crate::{
    scratch::written,
    simd::{Kernel, Lanes, dispatch},
};

/// The gradient behind a ReLU: `gradient` where `y` is positive, else 0.
pub fn backward(y: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!(y.len(), gradient.len());
    // SAFETY: the chunks cover the result, and every task writes all of its own.
    unsafe {
        written(y.len(), |out| {
            out.par_chunks_mut(CHUNK)
                .zip(y.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)))
                .for_each(|(out, (y, gradient))| {
                    let out = out.as_mut_ptr().cast();
                    dispatch(ThroughRelu { y, gradient, out });
                });
        })
    }
}

/// A chunk of [`backward`]; `out` has room for it.
struct ThroughRelu<'a> {
    y: &'a [f32],
    gradient: &'a [f32],
    out: *mut f32,
}

impl Kernel for ThroughRelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (at, count) in blocks(self.y.len()) {
            let [y, gradient] = load_block::<L, 2>([self.y, self.gradient], (at, count));
            // SAFETY: there is room for as much as `y` is.
            unsafe {
                gradient
                    .where_positive(y)
                    .store_first(self.out.add(at), count)
            };
        }
    }
}
