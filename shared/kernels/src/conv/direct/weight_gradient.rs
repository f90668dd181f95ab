//! Weight gradient of the direct convolution: sums of outer products of windows and output
//! gradients, over groups of images in order, so that no bit depends on threads.

use rayon::prelude::*;

use super::Windows;
use crate::{
    microkernel::{add_outer_products, for_row_blocks},
    scratch::{DisjointSlice, with_scratch},
    shape::ConvShape,
    simd::{F32x16, Kernel, LANES, dispatch},
};

/// Output positions in a group of images, at least: enough to amortize loading the sums.
const MIN_POSITIONS: usize = 512;
/// Taps (kernel position, input channel) that a task sums.
const TAPS_PER_TASK: usize = 16;

/// Gradient of the weight, `[c_out, c_in, kernel, kernel]`.
pub fn weight_gradient(shape: &ConvShape, input: &[f32], grad_output: &[f32]) -> Vec<f32> {
    let (input_shape, output) = (shape.input, shape.output());
    assert!(input.len() == input_shape.numel() && grad_output.len() == output.numel());
    let windows = Windows::new(shape);
    let positions = output.positions();
    let group = MIN_POSITIONS.div_ceil(positions).min(input_shape.images);
    let blocks = shape.c_out.div_ceil(LANES);
    let mut padded = vec![0.0; group * windows.len()];
    let starts = windows.starts_in(group);
    let taps = shape.weight_numel() / shape.c_out;
    let lens = [blocks * group * positions * LANES, taps * blocks * LANES];
    with_scratch(lens, |[grads, sums]| {
        let inputs = input.chunks(group * input_shape.image_numel());
        let groups = inputs.zip(grad_output.chunks(group * output.image_numel()));
        for (number, (input, grad_output)) in groups.enumerate() {
            let shared = DisjointSlice::new(grads);
            padded
                .par_chunks_mut(windows.len())
                .zip(input.par_chunks(input_shape.image_numel()))
                .zip(grad_output.par_chunks(output.image_numel()))
                .enumerate()
                .for_each(|(image, ((padded, image_input), grad_output))| {
                    windows.pad(shape, image_input, padded);
                    let row = |block: usize| (block * group + image) * positions;
                    // SAFETY: these rows belong to this image alone, one for each position.
                    let block_ptr = |block: usize| unsafe { shared.ptr_at(row(block) * LANES) };
                    split_into_blocks(shape.c_out, grad_output, block_ptr);
                });
            let starts = &starts[..grad_output.len() / shape.c_out];
            let tasks = sums
                .par_chunks_mut(TAPS_PER_TASK * blocks * LANES)
                .enumerate();
            tasks.for_each(|(task, sums)| {
                with_scratch([starts.len() * LANES], |[values]| {
                    dispatch(AccumulateTaps {
                        windows: &windows,
                        first_tap: task * TAPS_PER_TASK,
                        padded: &padded,
                        starts,
                        grads,
                        values,
                        sums,
                        overwrite: number == 0,
                    });
                });
            });
        }
        to_weight(shape, blocks, sums)
    })
}

/// Splits `grad_output` `[positions, channels]` into blocks of 16 channels, `[positions][16]` each,
/// written from `block_ptr(block)` on.
fn split_into_blocks(channels: usize, grad_output: &[f32], block_ptr: impl Fn(usize) -> *mut f32) {
    for first in (0..channels).step_by(LANES) {
        let to = block_ptr(first / LANES);
        for (position, values) in grad_output.chunks_exact(channels).enumerate() {
            let values = &values[first..channels.min(first + LANES)];
            // SAFETY: each position has 16 floats in both; there are R more rows of sums.
            unsafe {
                let to = to.add(position * LANES);
                match values.as_array::<LANES>() {
                    // A fixed-size copy compiles to moves, not a call.
                    Some(values) => to.cast::<[f32; LANES]>().write(*values),
                    None => std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()),
                }
            }
        }
    }
}

/// Transposes sums `[ky][kx][c_in][c_out, rounded up]` to `[c_out, c_in, kernel, kernel]`.
fn to_weight(shape: &ConvShape, blocks: usize, sums: &[f32]) -> Vec<f32> {
    let (area, c_in) = (shape.kernel.pow(2), shape.input.channels);
    let taps = area * c_in;
    let mut weight = vec![0.0; shape.weight_numel()];
    let rows = weight.par_chunks_mut(LANES * taps).enumerate();
    rows.for_each(|(block, rows)| {
        for at in 0..taps {
            let (tap, channel) = (at / c_in, at % c_in);
            let sums = &sums[(at * blocks + block) * LANES..];
            for (row, sum) in rows.chunks_exact_mut(taps).zip(sums) {
                row[channel * area + tap] = *sum;
            }
        }
    });
    weight
}

/// Adds the outer products of a group to the sums `[taps][c_out, rounded up]` of some taps.
struct AccumulateTaps<'a> {
    windows: &'a Windows,
    first_tap: usize,
    padded: &'a [f32],
    starts: &'a [usize],
    /// `[c_out / 16][positions][16]`
    grads: &'a [f32],
    /// Scratch memory, `[positions][16]`: the values under the taps.
    values: &'a mut [f32],
    sums: &'a mut [f32],
    overwrite: bool,
}

impl Kernel for AccumulateTaps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(mut self) {
        let images = self.padded.len() / self.windows.len();
        let positions = images * self.windows.starts.len();
        let blocks = self.grads.len() / (positions * LANES);
        assert!(self.starts.len() <= positions);
        let taps = self.sums.len() / (blocks * LANES);
        assert!(taps <= TAPS_PER_TASK && self.values.len() >= self.starts.len() * LANES);
        self.gather::<V>(taps);
        for block in 0..blocks {
            let grads = &self.grads[block * positions * LANES..];
            for_row_blocks!(V, taps, |tap, R| {
                // SAFETY: each position has 16 numbers in both; there are R more rows of sums.
                unsafe {
                    let start = (tap * blocks + block) * LANES;
                    let sums = (self.sums.as_mut_ptr().add(start), blocks * LANES);
                    let left = self.values.as_ptr().add(tap);
                    let right = grads.as_ptr();
                    add_outer_products::<V, R>(
                        self.starts.len(),
                        left,
                        right,
                        sums,
                        self.overwrite,
                    );
                }
            });
        }
    }
}

impl AccumulateTaps<'_> {
    /// Gathers the values under the taps of every window, contiguously: they are read once per
    /// block of output channels.
    #[inline(always)]
    fn gather<V: F32x16>(&mut self, taps: usize) {
        let Windows { row, run, .. } = *self.windows;
        let mut tap = 0;
        while tap < taps {
            let (y, x) = ((self.first_tap + tap) / run, (self.first_tap + tap) % run);
            let count = (run - x).min(taps - tap);
            for (position, start) in self.starts.iter().enumerate() {
                let from = &self.padded[start + y * row + x..][..count];
                // SAFETY: `count` floats are read and written, inside both slices.
                unsafe {
                    let to = self.values.as_mut_ptr().add(position * LANES + tap);
                    V::load_partial(from.as_ptr(), count).store_partial(to, count);
                }
            }
            tap += count;
        }
    }
}
