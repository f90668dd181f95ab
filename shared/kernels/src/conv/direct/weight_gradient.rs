//! The weights' gradient: images and the outputs' gradients come in, `[K,C,kernel,kernel]` goes
//! out. It is added up over groups of images, in order, so that its bits do not depend on the
//! threads.

use rayon::prelude::*;

use super::Windows;
use crate::{
    microkernel::{add_outer_products, by_rows},
    scratch::{Shared, with_scratch},
    shape::ConvShape,
    simd::{Kernel, LANES, Lanes, dispatch},
};

/// Positions that are there at once, at least: enough to make the sums worth loading.
const POSITIONS: usize = 512;
/// Taps of the kernel, each of one channel, that a task adds up.
const TAPS: usize = 16;

/// Gradient of the weight `[c_out, c_in, kernel, kernel]`; `gradient` is that of the output.
pub fn weight_gradient(geometry: &ConvShape, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (pictures, output) = (geometry.input, geometry.output());
    assert!(input.len() == pictures.numel() && gradient.len() == output.numel());
    let windows = Windows::new(geometry);
    let positions = output.positions();
    let group = POSITIONS.div_ceil(positions).min(pictures.images);
    let blocks = geometry.c_out.div_ceil(LANES);
    let mut padded = vec![0.0; group * windows.len()];
    let starts = windows.starts_in(group);
    let taps = geometry.weight_numel() / geometry.c_out;
    let lens = [blocks * group * positions * LANES, taps * blocks * LANES];
    with_scratch(lens, |[slopes, sums]| {
        let inputs = input.chunks(group * pictures.image_numel());
        let groups = inputs.zip(gradient.chunks(group * output.image_numel()));
        for (number, (input, gradient)) in groups.enumerate() {
            let shared = Shared::new(slopes);
            padded
                .par_chunks_mut(windows.len())
                .zip(input.par_chunks(pictures.image_numel()))
                .zip(gradient.par_chunks(output.image_numel()))
                .enumerate()
                .for_each(|(image, ((padded, picture), gradient))| {
                    windows.pad(geometry, picture, padded);
                    let row = |block: usize| (block * group + image) * positions;
                    // SAFETY: the rows are this image's alone, as many as it has positions.
                    let place = |block: usize| unsafe { shared.at(row(block) * LANES) };
                    by_blocks(geometry.c_out, gradient, place);
                });
            let starts = &starts[..gradient.len() / geometry.c_out];
            let tasks = sums.par_chunks_mut(TAPS * blocks * LANES).enumerate();
            tasks.for_each(|(task, sums)| {
                with_scratch([starts.len() * LANES], |[values]| {
                    dispatch(AddProducts {
                        windows: &windows,
                        first_tap: task * TAPS,
                        padded: &padded,
                        starts,
                        slopes,
                        values,
                        sums,
                        first_time: number == 0,
                    });
                });
            });
        }
        to_weight(geometry, blocks, sums)
    })
}

/// Each sixteen channels of `gradient` `[positions, channels]` to a place of their own.
fn by_blocks(channels: usize, gradient: &[f32], place: impl Fn(usize) -> *mut f32) {
    for first in (0..channels).step_by(LANES) {
        let to = place(first / LANES);
        for (position, values) in gradient.chunks_exact(channels).enumerate() {
            let values = &values[first..channels.min(first + LANES)];
            // SAFETY: there is room for sixteen numbers of every position, as the caller promises.
            unsafe {
                let to = to.add(position * LANES);
                match values.as_array::<LANES>() {
                    // A copy without a call.
                    Some(values) => to.cast::<[f32; LANES]>().write(*values),
                    None => std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()),
                }
            }
        }
    }
}

/// Sums `[ky][kx][c_in][c_out, rounded up]` to `[c_out, c_in, kernel, kernel]`.
fn to_weight(geometry: &ConvShape, blocks: usize, sums: &[f32]) -> Vec<f32> {
    let (area, c_in) = (geometry.kernel.pow(2), geometry.input.channels);
    let taps = area * c_in;
    let mut weight = vec![0.0; geometry.weight_numel()];
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

/// Adds a group's products to the sums `[taps][c_out, rounded up]` of some taps.
struct AddProducts<'a> {
    windows: &'a Windows,
    first_tap: usize,
    padded: &'a [f32],
    starts: &'a [usize],
    /// `[c_out / 16][positions][16]`
    slopes: &'a [f32],
    /// Room for `[positions][16]`.
    values: &'a mut [f32],
    sums: &'a mut [f32],
    first_time: bool,
}

impl Kernel for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let images = self.padded.len() / self.windows.len();
        let positions = images * self.windows.starts.len();
        let blocks = self.slopes.len() / (positions * LANES);
        assert!(self.starts.len() <= positions);
        let taps = self.sums.len() / (blocks * LANES);
        assert!(taps <= TAPS && self.values.len() >= self.starts.len() * LANES);
        self.gather::<L>(taps);
        for block in 0..blocks {
            let slopes = &self.slopes[block * positions * LANES..];
            by_rows!(L, taps, |tap, R| {
                // SAFETY: each position has 16 numbers in both; there are R more rows of sums.
                unsafe {
                    let start = (tap * blocks + block) * LANES;
                    let sums = (self.sums.as_mut_ptr().add(start), blocks * LANES);
                    let left = self.values.as_ptr().add(tap);
                    let right = slopes.as_ptr();
                    add_outer_products::<L, R>(
                        self.starts.len(),
                        left,
                        right,
                        sums,
                        self.first_time,
                    );
                }
            });
        }
    }
}

impl AddProducts<'_> {
    /// Puts what the taps of each window see side by side: it is read once for every block.
    #[inline(always)]
    fn gather<L: Lanes>(&mut self, taps: usize) {
        let Windows { row, run, .. } = *self.windows;
        let mut tap = 0;
        while tap < taps {
            let (y, x) = ((self.first_tap + tap) / run, (self.first_tap + tap) % run);
            let count = (run - x).min(taps - tap);
            for (position, start) in self.starts.iter().enumerate() {
                let from = &self.padded[start + y * row + x..][..count];
                // SAFETY: there are `count` floats, and as many places.
                unsafe {
                    let to = self.values.as_mut_ptr().add(position * LANES + tap);
                    L::load_first(from.as_ptr(), count).store_first(to, count);
                }
            }
            tap += count;
        }
    }
}
