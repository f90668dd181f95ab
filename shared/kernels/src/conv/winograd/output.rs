//! Winograd output transform: products in the transform domain to output pixels, with the epilogue
//! applied.

use std::{mem::MaybeUninit, ops::Range};

use super::{
    TileLayout, Tiled, TransformedTile, tile_corners,
    transform::{self, OutputTransform, TILE_IN, TILE_OUT, TileSink},
};
use crate::{
    conv::Epilogue,
    shape::NhwcShape,
    simd::{F32x16, LANES},
};

/// Output transform (`A^T m A`) of the products of `bands` to `out`, which holds the outputs of
/// these bands. `products` hold the channels from number `first` on; the first tile of the bands is
/// tile number `tile` of the layout.
#[inline(always)]
pub fn output_transform<V: F32x16>(
    output: NhwcShape,
    bands: Range<usize>,
    (products, layout, tile): (&[f32], TileLayout, usize),
    first: usize,
    epilogue: Epilogue,
    out: &mut [MaybeUninit<f32>],
) {
    assert!(tile + bands.len() * output.band().tiles <= layout.tiles);
    assert!(products.len() >= layout.len());
    let start = bands.start * output.image_numel() / output.band().per_image;
    for (number, (image, top, left)) in tile_corners(output, bands).enumerate() {
        let position = (image * output.height + top) * output.width + left;
        for block in 0..layout.blocks {
            let channel = first + block * LANES;
            let tile_out = OutputTile {
                epilogue,
                at: position * output.channels + channel - start,
                channel,
                steps: [output.width * output.channels, output.channels],
                rows: TILE_OUT.min(output.height - top),
                columns: TILE_OUT.min(output.width - left),
                count: (output.channels - channel).min(LANES),
                out,
            };
            let from = &products[layout.at(0, block, tile + number)..];
            // SAFETY: the tile lies in the layout, which lies in `products`, as asserted.
            unsafe {
                tile_out.write_transformed::<V>(TransformedTile {
                    start: from.as_ptr().cast_mut(),
                    step: layout.point(),
                });
            }
        }
    }
}

/// Output pixels of a tile: up to 16 channels of up to 4 x 4 positions.
struct OutputTile<'a> {
    epilogue: Epilogue<'a>,
    /// Index of the first output in `out`.
    at: usize,
    /// Its channel.
    channel: usize,
    /// Strides of a row and of a column.
    steps: [usize; 2],
    rows: usize,
    columns: usize,
    count: usize,
    out: &'a mut [MaybeUninit<f32>],
}

impl OutputTile<'_> {
    /// Transforms `from` and writes the outputs.
    ///
    /// # Safety
    /// `from` can be read.
    #[inline(always)]
    unsafe fn write_transformed<V: F32x16>(self, from: TransformedTile) {
        // SAFETY: as the caller promises.
        unsafe {
            if (self.rows, self.columns, self.count) == (TILE_OUT, TILE_OUT, LANES) {
                // Compiled without a branch at each store.
                let whole = Self {
                    rows: TILE_OUT,
                    columns: TILE_OUT,
                    count: LANES,
                    ..self
                };
                transform::transform_2d::<OutputTransform, V, TILE_IN, TILE_OUT>(from, whole);
            } else {
                transform::transform_2d::<OutputTransform, V, TILE_IN, TILE_OUT>(from, self);
            }
        }
    }
}

impl TileSink for OutputTile<'_> {
    #[inline(always)]
    unsafe fn store<V: F32x16>(&mut self, y: usize, x: usize, value: V) {
        if y < self.rows && x < self.columns {
            let at = self.at + y * self.steps[0] + x * self.steps[1];
            let out = &mut self.out[at..][..self.count];
            let value = self.epilogue.apply(value, at, self.channel, self.count);
            // SAFETY: `out` has room for `count` floats.
            unsafe { value.store_partial(out.as_mut_ptr().cast(), self.count) };
        }
    }
}
