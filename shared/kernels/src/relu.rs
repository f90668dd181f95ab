//! ReLU alone, forward and backward. Convolution and batch normalization have it fused.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::{
    batch_norm::{
        CHUNK,
        rows::{blocks, load_block},
    },
    scratch::uninit_vec,
    simd::{F32x16, Kernel, dispatch},
};

/// `max(x, 0)`; NaN stays NaN.
pub fn forward(x: &[f32]) -> Vec<f32> {
    let write = |out: &mut [MaybeUninit<f32>]| {
        let chunks = out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        chunks.for_each(|(out, x)| {
            let out = out.as_mut_ptr().cast();
            dispatch(ReluForward { x, out });
        });
    };
    // SAFETY: the chunks cover the result, and each task writes all of its chunk.
    unsafe { uninit_vec(x.len(), write) }
}

/// A chunk of [`forward`]; `out` has room for it.
struct ReluForward<'a> {
    x: &'a [f32],
    out: *mut f32,
}

impl Kernel for ReluForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        for (at, count) in blocks(self.x.len()) {
            let [x] = load_block::<V, 1>([self.x], (at, count));
            // SAFETY: `out` has room for as many floats as `x` has.
            unsafe { x.max(0.0).store_partial(self.out.add(at), count) };
        }
    }
}

/// Gradient of a ReLU: `grad_output` where `y`, its output (or input), is positive, else 0.
pub fn backward(y: &[f32], grad_output: &[f32]) -> Vec<f32> {
    assert_eq!(y.len(), grad_output.len());
    // SAFETY: the chunks cover the result, and each task writes all of its chunk.
    unsafe {
        uninit_vec(y.len(), |out| {
            out.par_chunks_mut(CHUNK)
                .zip(y.par_chunks(CHUNK).zip(grad_output.par_chunks(CHUNK)))
                .for_each(|(out, (y, grad_output))| {
                    let out = out.as_mut_ptr().cast();
                    dispatch(ReluBackward {
                        y,
                        grad_output,
                        out,
                    });
                });
        })
    }
}

/// A chunk of [`backward`]; `out` has room for it.
struct ReluBackward<'a> {
    y: &'a [f32],
    grad_output: &'a [f32],
    out: *mut f32,
}

impl Kernel for ReluBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        for (at, count) in blocks(self.y.len()) {
            let [y, grad_output] = load_block::<V, 2>([self.y, self.grad_output], (at, count));
            // SAFETY: `out` has room for as many floats as `y` has.
            unsafe {
                grad_output
                    .mask_positive(y)
                    .store_partial(self.out.add(at), count)
            };
        }
    }
}
