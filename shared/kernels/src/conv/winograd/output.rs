//! From the points to the outputs: products come in, outputs go out, each met by its epilogue.

use std::{mem::MaybeUninit, ops::Range};

use super::{
    Layout, Points, Tiled, tile_corners,
    transform::{self, Outputs, SIDE, TILE, Target},
};
use crate::{
    conv::Epilogue,
    shape::NhwcShape,
    simd::{LANES, Lanes},
};

/// Brings the products of strips from the points to `out`, which holds these strips' outputs.
/// `products` are those of the channels from number `first` on; the strips' first tile is number
/// `tile` of the layout.
#[inline(always)]
pub fn to_outputs<L: Lanes>(
    output: NhwcShape,
    strips: Range<usize>,
    (products, layout, tile): (&[f32], Layout, usize),
    first: usize,
    epilogue: Epilogue,
    out: &mut [MaybeUninit<f32>],
) {
    assert!(tile + strips.len() * output.strip().tiles <= layout.tiles);
    assert!(products.len() >= layout.len());
    let start = strips.start * output.image_numel() / output.strip().per_image;
    for (number, (image, top, left)) in tile_corners(output, strips).enumerate() {
        let position = (image * output.height + top) * output.width + left;
        for block in 0..layout.blocks {
            let channel = first + block * LANES;
            let place = Place {
                epilogue,
                at: position * output.channels + channel - start,
                channel,
                steps: [output.width * output.channels, output.channels],
                rows: TILE.min(output.height - top),
                columns: TILE.min(output.width - left),
                count: (output.channels - channel).min(LANES),
                out,
            };
            let from = &products[layout.at(0, block, tile + number)..];
            // SAFETY: the tile is one of the layout's, all of whose values are there, as asserted.
            unsafe {
                place.receive::<L>(Points {
                    start: from.as_ptr().cast_mut(),
                    step: layout.point(),
                });
            }
        }
    }
}

/// Where a tile's outputs go, sixteen channels or fewer of each.
struct Place<'a> {
    epilogue: Epilogue<'a>,
    /// The first of them in `out`.
    at: usize,
    /// Its channel.
    channel: usize,
    /// From one row, one column to the next.
    steps: [usize; 2],
    rows: usize,
    columns: usize,
    count: usize,
    out: &'a mut [MaybeUninit<f32>],
}

impl Place<'_> {
    /// Transforms what is at the points.
    ///
    /// # Safety
    /// `from` can be read.
    #[inline(always)]
    unsafe fn receive<L: Lanes>(self, from: Points) {
        // SAFETY: as the caller promises.
        unsafe {
            if (self.rows, self.columns, self.count) == (TILE, TILE, LANES) {
                // Compiled without a test at each output.
                let whole = Self {
                    rows: TILE,
                    columns: TILE,
                    count: LANES,
                    ..self
                };
                transform::both_ways::<Outputs, L, SIDE, TILE>(from, whole);
            } else {
                transform::both_ways::<Outputs, L, SIDE, TILE>(from, self);
            }
        }
    }
}

impl Target for Place<'_> {
    #[inline(always)]
    unsafe fn store<L: Lanes>(&mut self, y: usize, x: usize, value: L) {
        if y < self.rows && x < self.columns {
            let at = self.at + y * self.steps[0] + x * self.steps[1];
            let out = &mut self.out[at..][..self.count];
            let value = self.epilogue.apply(value, at, self.channel, self.count);
            // SAFETY: `out` has room for so many floats.
            unsafe { value.store_first(out.as_mut_ptr().cast(), self.count) };
        }
    }
}
