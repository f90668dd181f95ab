//! The filters' gradient: images and the outputs' gradients come in, `[K,C,3,3]` goes out. It is
//! added up at the points, group of tiles after group of tiles, so that its bits depend neither on
//! threads nor on how the tiles are shared out among them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    Layout, Places, Points, Tiled, tile_corners, to_points,
    transform::{self, FilterTransposed, OutputsTransposed, POINTS, SIDE, TILE, Target},
};
use crate::{
    microkernel::{add_outer_products, by_rows},
    scratch::{Shared, with_scratch, written},
    shape::NhwcShape,
    simd::{Kernel, LANES, Lanes, dispatch},
};

/// Tiles whose values at the points are there at once, at least: enough to make the sums worth
/// loading.
const TILES: usize = 256;

/// Gradient of the weight `[c_out, c_in, 3, 3]` of a convolution of `input`; `gradient` is that of
/// its output `[B,H,W,c_out]`.
pub fn filter_gradient(
    input: NhwcShape,
    values: &[f32],
    c_out: usize,
    gradient: &[f32],
) -> Vec<f32> {
    let output = input.with_channels(c_out);
    assert!(values.len() == input.numel() && gradient.len() == output.numel());
    let images = TILES.div_ceil(input.tiles()).min(input.images);
    let tiles = images * input.tiles();
    let at_points = |pictures: NhwcShape| Layout {
        tiles,
        blocks: pictures.blocks(),
    };
    let (left, right) = (at_points(input), at_points(output));
    let zeros = vec![0.0; left.blocks.max(right.blocks) * LANES];
    let sums_len = POINTS * left.blocks * right.blocks * LANES * LANES;
    let lens = [left.len(), right.len(), sums_len];
    with_scratch(lens, |[pixels, slopes, sums]| {
        for first in (0..input.images).step_by(images) {
            let count = images.min(input.images - first);
            let per_image = input.strip().per_image;
            let (to_pixels, to_slopes) = (Shared::new(pixels), Shared::new(slopes));
            (0..count * per_image).into_par_iter().for_each(|strip| {
                let tile = strip * input.strip().tiles * LANES;
                // SAFETY: every strip has tiles of its own, which only this task writes.
                let (pixels, slopes) = unsafe { (to_pixels.at(tile), to_slopes.at(tile)) };
                dispatch(ToPoints {
                    strip: first * per_image + strip,
                    input: (input, values, left, pixels),
                    output: (output, gradient, right, slopes),
                    zeros: &zeros,
                });
            });
            let chunk = right.blocks * LANES * LANES;
            let tasks = sums.par_chunks_exact_mut(chunk).enumerate();
            tasks.for_each(|(at, sums)| {
                let (point, block) = (at / left.blocks, at % left.blocks);
                dispatch(AddProducts {
                    channels: (input.channels - block * LANES).min(LANES),
                    tiles: count * input.tiles(),
                    step: tiles * LANES,
                    pixels: &pixels[left.at(point, block, 0)..],
                    slopes: &slopes[right.at(point, 0, 0)..],
                    sums,
                    first_time: first == 0,
                });
            });
        }
        from_points(input.channels, c_out, sums)
    })
}

/// One strip's pixels and gradients to the points.
struct ToPoints<'a> {
    strip: usize,
    input: (NhwcShape, &'a [f32], Layout, *mut f32),
    output: (NhwcShape, &'a [f32], Layout, *mut f32),
    zeros: &'a [f32],
}

impl Kernel for ToPoints<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let strips = self.strip..self.strip + 1;
        let (pictures, values, layout, points) = self.input;
        // SAFETY: both places have room for the strip's tiles, as `filter_gradient` sees to.
        unsafe {
            to_points::<L>(pictures, strips.clone(), values, self.zeros, layout, points);
            let (pictures, values, layout, points) = self.output;
            outputs_to_points::<L>(pictures, strips, values, self.zeros, layout, points);
        }
    }
}

/// Writes the outputs' gradients of strips at the points, as [`to_points`] does the pixels.
///
/// # Safety
/// As for [`to_points`].
#[inline(always)]
unsafe fn outputs_to_points<L: Lanes>(
    pictures: NhwcShape,
    strips: std::ops::Range<usize>,
    values: &[f32],
    zeros: &[f32],
    layout: Layout,
    points: *mut f32,
) {
    let channels = pictures.channels;
    assert!(values.len() == pictures.numel() && zeros.len() >= channels.next_multiple_of(LANES));
    for (tile, (image, top, left)) in tile_corners(pictures, strips).enumerate() {
        let image = &values[image * pictures.image_numel()..][..pictures.image_numel()];
        let place = |y: usize, x: usize| {
            if top + y < pictures.height && left + x < pictures.width {
                image[((top + y) * pictures.width + left + x) * channels..].as_ptr()
            } else {
                zeros.as_ptr()
            }
        };
        let places: [[*const f32; TILE]; TILE] =
            std::array::from_fn(|y| std::array::from_fn(|x| place(y, x)));
        for block in 0..layout.blocks {
            let start = layout.at(0, block, tile);
            // SAFETY: each place is followed by `channels` floats; the points have room, as the
            // caller promises.
            unsafe {
                let to = Points {
                    start: points.add(start),
                    step: layout.point(),
                };
                Places::new(&places, channels, block).transform::<OutputsTransposed, L, SIDE>(to);
            }
        }
    }
}

/// Adds, at one point, the products of a block of pixels' channels with all gradients' channels:
/// `[output block][16 inputs][16 outputs]`.
struct AddProducts<'a> {
    channels: usize,
    tiles: usize,
    /// From one block of gradients to the next.
    step: usize,
    pixels: &'a [f32],
    slopes: &'a [f32],
    sums: &'a mut [f32],
    first_time: bool,
}

impl Kernel for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let blocks = self.sums.len() / (LANES * LANES);
        assert!(self.tiles * LANES <= self.step && self.tiles * LANES <= self.pixels.len());
        assert!(self.slopes.len() >= (blocks - 1) * self.step + self.tiles * LANES);
        for (block, sums) in self.sums.chunks_exact_mut(LANES * LANES).enumerate() {
            let slopes = &self.slopes[block * self.step..];
            by_rows!(L, self.channels, |row, R| {
                // SAFETY: every tile has 16 numbers in both; there are R more rows of sums.
                unsafe {
                    let place = sums.as_mut_ptr().add(row * LANES);
                    let left = self.pixels.as_ptr().add(row);
                    let right = slopes.as_ptr();
                    let sums = (place, LANES);
                    add_outer_products::<L, R>(self.tiles, left, right, sums, self.first_time);
                }
            });
        }
    }
}

/// Sums at the points, `[point][input block][output block][16][16]`, to `[c_out, c_in, 3, 3]`.
fn from_points(c_in: usize, c_out: usize, sums: &[f32]) -> Vec<f32> {
    let write = |weight: &mut [MaybeUninit<f32>]| {
        let blocks = weight.par_chunks_mut(LANES * c_in * 9).enumerate();
        blocks.for_each(|(block, weight)| {
            dispatch(FromPoints {
                c_in,
                c_out,
                block,
                sums,
                weight,
            });
        });
    };
    // SAFETY: the blocks cover the weight, and each writes all of its own.
    unsafe { written(c_out * c_in * 9, write) }
}

/// The taps of a block of outputs.
struct FromPoints<'a> {
    c_in: usize,
    c_out: usize,
    block: usize,
    sums: &'a [f32],
    weight: &'a mut [MaybeUninit<f32>],
}

impl Kernel for FromPoints<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (inputs, outputs) = (self.c_in.div_ceil(LANES), self.c_out.div_ceil(LANES));
        let step = inputs * outputs * LANES * LANES;
        assert!(self.sums.len() == POINTS * step);
        for input in 0..self.c_in {
            let block = input / LANES * outputs + self.block;
            let at = (block * LANES + input % LANES) * LANES;
            let mut lanes = [[0.0; LANES]; 9];
            // SAFETY: the sums at all points are there, as asserted.
            unsafe {
                let start = self.sums.as_ptr().add(at).cast_mut();
                let from = Points { start, step };
                transform::both_ways::<FilterTransposed, L, SIDE, 3>(from, Taps(&mut lanes));
            }
            let rows = self.weight.chunks_exact_mut(self.c_in * 9);
            for (lane, row) in rows.enumerate() {
                for (tap, lanes) in row[input * 9..][..9].iter_mut().zip(&lanes) {
                    tap.write(lanes[lane]);
                }
            }
        }
    }
}

/// Nine taps, each of sixteen outputs.
struct Taps<'a>(&'a mut [[f32; LANES]; 9]);

impl Target for Taps<'_> {
    #[inline(always)]
    unsafe fn store<L: Lanes>(&mut self, y: usize, x: usize, value: L) {
        // SAFETY: there is room for 16 floats.
        unsafe { value.store(self.0[3 * y + x].as_mut_ptr()) }
    }
}
