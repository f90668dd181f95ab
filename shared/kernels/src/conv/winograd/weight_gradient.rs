//! Winograd weight gradient: products of transformed inputs and transformed output gradients,
//! summed in the transform domain over groups of images in order, so that no bit depends on
//! threads.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    PixelGrid, TileLayout, Tiled, TransformedTile, input_transform, tile_corners,
    transform::{
        self, GradOutputTransform, POINTS, TILE_IN, TILE_OUT, TileSink, WeightGradTransform,
    },
};
use crate::{
    microkernel::{add_outer_products, for_row_blocks},
    scratch::{DisjointSlice, uninit_vec, with_scratch},
    shape::NhwcShape,
    simd::{F32x16, Kernel, LANES, dispatch},
};

/// Tiles in a group of images, at least: enough to amortize loading the sums.
const MIN_TILES: usize = 256;

/// Gradient of the weight, `[c_out, c_in, 3, 3]`, of a convolution of `input`, whose floats are
/// `values`; `grad_output` is `[B,H,W,c_out]`.
pub fn weight_gradient(
    input: NhwcShape,
    values: &[f32],
    c_out: usize,
    grad_output: &[f32],
) -> Vec<f32> {
    let output = input.with_channels(c_out);
    assert!(values.len() == input.numel() && grad_output.len() == output.numel());
    let images = MIN_TILES.div_ceil(input.tiles()).min(input.images);
    let tiles = images * input.tiles();
    let layout = |shape: NhwcShape| TileLayout {
        tiles,
        blocks: shape.blocks(),
    };
    let (left, right) = (layout(input), layout(output));
    let zeros = vec![0.0; left.blocks.max(right.blocks) * LANES];
    let sums_len = POINTS * left.blocks * right.blocks * LANES * LANES;
    let lens = [left.len(), right.len(), sums_len];
    with_scratch(lens, |[pixels, grads, sums]| {
        for first in (0..input.images).step_by(images) {
            let count = images.min(input.images - first);
            let per_image = input.band().per_image;
            let (to_pixels, to_grads) = (DisjointSlice::new(pixels), DisjointSlice::new(grads));
            (0..count * per_image).into_par_iter().for_each(|band| {
                let tile = band * input.band().tiles * LANES;
                // SAFETY: each band has tiles of its own, which only this task writes.
                let (pixels, grads) = unsafe { (to_pixels.ptr_at(tile), to_grads.ptr_at(tile)) };
                dispatch(TransformTask {
                    band: first * per_image + band,
                    input: (input, values, left, pixels),
                    output: (output, grad_output, right, grads),
                    zeros: &zeros,
                });
            });
            let chunk = right.blocks * LANES * LANES;
            let tasks = sums.par_chunks_exact_mut(chunk).enumerate();
            tasks.for_each(|(at, sums)| {
                let (point, block) = (at / left.blocks, at % left.blocks);
                dispatch(AccumulateProducts {
                    channels: (input.channels - block * LANES).min(LANES),
                    tiles: count * input.tiles(),
                    step: tiles * LANES,
                    pixels: &pixels[left.at(point, block, 0)..],
                    grads: &grads[right.at(point, 0, 0)..],
                    sums,
                    overwrite: first == 0,
                });
            });
        }
        weight_grad_transform(input.channels, c_out, sums)
    })
}

/// Transforms of inputs and output gradients of one band.
struct TransformTask<'a> {
    band: usize,
    input: (NhwcShape, &'a [f32], TileLayout, *mut f32),
    output: (NhwcShape, &'a [f32], TileLayout, *mut f32),
    zeros: &'a [f32],
}

impl Kernel for TransformTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let bands = self.band..self.band + 1;
        let (shape, values, layout, points) = self.input;
        // SAFETY: `weight_gradient` passes room for the tiles of the band.
        unsafe {
            input_transform::<V>(shape, bands.clone(), values, self.zeros, layout, points);
            let (shape, values, layout, points) = self.output;
            grad_output_transform::<V>(shape, bands, values, self.zeros, layout, points);
        }
    }
}

/// Transform (`A y A^T`) of the output gradients of `bands`, laid out as by [`input_transform`].
///
/// # Safety
/// As for [`input_transform`].
#[inline(always)]
unsafe fn grad_output_transform<V: F32x16>(
    shape: NhwcShape,
    bands: std::ops::Range<usize>,
    values: &[f32],
    zeros: &[f32],
    layout: TileLayout,
    points: *mut f32,
) {
    let channels = shape.channels;
    assert!(values.len() == shape.numel() && zeros.len() >= channels.next_multiple_of(LANES));
    for (tile, (image, top, left)) in tile_corners(shape, bands).enumerate() {
        let image = &values[image * shape.image_numel()..][..shape.image_numel()];
        let place = |y: usize, x: usize| {
            if top + y < shape.height && left + x < shape.width {
                image[((top + y) * shape.width + left + x) * channels..].as_ptr()
            } else {
                zeros.as_ptr()
            }
        };
        let places: [[*const f32; TILE_OUT]; TILE_OUT] =
            std::array::from_fn(|y| std::array::from_fn(|x| place(y, x)));
        for block in 0..layout.blocks {
            let start = layout.at(0, block, tile);
            // SAFETY: `channels` floats follow each pixel pointer; the layout has room, as the
            // caller promises.
            unsafe {
                let to = TransformedTile {
                    start: points.add(start),
                    step: layout.point(),
                };
                PixelGrid::new(&places, channels, block)
                    .transform::<GradOutputTransform, V, TILE_IN>(to);
            }
        }
    }
}

/// Adds, at one point, the products of one block of input channels with all blocks of output
/// channels, summed over tiles: `[output block][16 inputs][16 outputs]`.
struct AccumulateProducts<'a> {
    channels: usize,
    tiles: usize,
    /// Stride of a block of output gradients.
    step: usize,
    pixels: &'a [f32],
    grads: &'a [f32],
    sums: &'a mut [f32],
    overwrite: bool,
}

impl Kernel for AccumulateProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let blocks = self.sums.len() / (LANES * LANES);
        assert!(self.tiles * LANES <= self.step && self.tiles * LANES <= self.pixels.len());
        assert!(self.grads.len() >= (blocks - 1) * self.step + self.tiles * LANES);
        for (block, sums) in self.sums.chunks_exact_mut(LANES * LANES).enumerate() {
            let grads = &self.grads[block * self.step..];
            for_row_blocks!(V, self.channels, |row, R| {
                // SAFETY: each tile has 16 floats in both; there are R more rows of sums.
                unsafe {
                    let place = sums.as_mut_ptr().add(row * LANES);
                    let left = self.pixels.as_ptr().add(row);
                    let right = grads.as_ptr();
                    let sums = (place, LANES);
                    add_outer_products::<V, R>(self.tiles, left, right, sums, self.overwrite);
                }
            });
        }
    }
}

/// Transform (`G^T u G`) of the sums `[point][input block][output block][16][16]` to
/// `[c_out, c_in, 3, 3]`.
fn weight_grad_transform(c_in: usize, c_out: usize, sums: &[f32]) -> Vec<f32> {
    let write = |weight: &mut [MaybeUninit<f32>]| {
        let blocks = weight.par_chunks_mut(LANES * c_in * 9).enumerate();
        blocks.for_each(|(block, weight)| {
            dispatch(WeightGradTask {
                c_in,
                c_out,
                block,
                sums,
                weight,
            });
        });
    };
    // SAFETY: the blocks cover the weight, and each writes all of its part.
    unsafe { uninit_vec(c_out * c_in * 9, write) }
}

/// Taps of a block of 16 output channels.
struct WeightGradTask<'a> {
    c_in: usize,
    c_out: usize,
    block: usize,
    sums: &'a [f32],
    weight: &'a mut [MaybeUninit<f32>],
}

impl Kernel for WeightGradTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let (inputs, outputs) = (self.c_in.div_ceil(LANES), self.c_out.div_ceil(LANES));
        let step = inputs * outputs * LANES * LANES;
        assert!(self.sums.len() == POINTS * step);
        for input in 0..self.c_in {
            let block = input / LANES * outputs + self.block;
            let at = (block * LANES + input % LANES) * LANES;
            let mut lanes = [[0.0; LANES]; 9];
            // SAFETY: all points have their sums, as asserted.
            unsafe {
                let start = self.sums.as_ptr().add(at).cast_mut();
                let from = TransformedTile { start, step };
                transform::transform_2d::<WeightGradTransform, V, TILE_IN, 3>(
                    from,
                    TapSink(&mut lanes),
                );
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

/// 3 x 3 taps of 16 output channels.
struct TapSink<'a>(&'a mut [[f32; LANES]; 9]);

impl TileSink for TapSink<'_> {
    #[inline(always)]
    unsafe fn store<V: F32x16>(&mut self, y: usize, x: usize, value: V) {
        // SAFETY: there is room for 16 floats.
        unsafe { value.store(self.0[3 * y + x].as_mut_ptr()) }
    }
}
