//! Pictures through filters: `[B,H,W,C]` comes in, `[B,H,W,K]` goes out. A task computes some
//! strips of tiles in its own cache: pixels to points, products, points to outputs.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    super::{
        epilogue::Epilogue,
        geometry::Pictures,
        lanes::{Kernel, LANES, Lanes, dispatch},
        memory::written,
        product::{Segments, by_rows, rows_times_panel},
    },
    Filters, Layout, Tiled, load_points, tile_corners, to_points,
    transform::{self, Outputs, POINTS, SIDE, TILE},
};

/// Panels of sixteen outputs that are computed before they leave the points.
const PANELS: usize = 4;

/// The convolution of `input` with `filters`, and what `epilogue` does to it.
pub fn correlate(
    input: Pictures,
    values: &[f32],
    filters: &Filters,
    epilogue: Epilogue,
) -> Vec<f32> {
    assert!(values.len() == input.len() && filters.inputs == input.channels);
    let output = input.with_channels(filters.outputs);
    let strip = input.strip();
    let strips = input.images * strip.per_image;
    let at_once = strips_at_once(input, strips);
    let zeros = vec![0.0; input.blocks() * LANES];
    let chunk = at_once * output.image_len() / strip.per_image;
    let tiles = at_once * strip.tiles;
    let at_points = |blocks: usize| Layout { tiles, blocks };
    let scratch = || {
        let layouts = [at_points(input.blocks()), at_points(PANELS)];
        layouts.map(|layout| vec![0.0; layout.len()])
    };
    // SAFETY: the strips cover the output, and every task writes all of its own.
    unsafe {
        written(output.len(), |out| {
            out.par_chunks_mut(chunk).enumerate().for_each_init(
                scratch,
                |[pixels, products], (task, out)| {
                    dispatch(Task {
                        input,
                        strips: task * at_once..strips.min((task + 1) * at_once),
                        values,
                        zeros: &zeros,
                        filters,
                        epilogue: epilogue.from(task * chunk),
                        pixels,
                        products,
                        out,
                    });
                },
            );
        })
    }
}

/// As many strips as keep a task's values in the cache of one core, and all cores at work.
fn strips_at_once(input: Pictures, strips: usize) -> usize {
    let tiles = if input.channels > 32 { 24 } else { 48 };
    let least = (tiles / input.strip().tiles).max(1);
    let threads = rayon::current_num_threads();
    let tasks = strips.div_ceil(least).next_multiple_of(threads);
    strips.div_ceil(tasks)
}

struct Task<'a> {
    input: Pictures,
    strips: Range<usize>,
    values: &'a [f32],
    zeros: &'a [f32],
    filters: &'a Filters,
    epilogue: Epilogue<'a>,
    pixels: &'a mut [f32],
    products: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let tiles = self.strips.len() * self.input.strip().tiles;
        let from = Layout {
            tiles,
            blocks: self.input.blocks(),
        };
        assert!(self.pixels.len() >= from.len());
        // SAFETY: there is room for all tiles, as asserted.
        unsafe {
            let (strips, points) = (self.strips.clone(), self.pixels.as_mut_ptr());
            to_points::<L>(self.input, strips, self.values, self.zeros, from, points);
        }
        let panels = self.filters.outputs.div_ceil(LANES);
        for first in (0..panels).step_by(PANELS) {
            let group = first..panels.min(first + PANELS);
            let to = Layout {
                tiles,
                blocks: group.len(),
            };
            for point in 0..POINTS {
                for (block, panel) in group.clone().enumerate() {
                    let panel = self.filters.panel(panel, point);
                    multiply::<L>(
                        &self.pixels[from.at(point, 0, 0)..][..from.blocks * tiles * LANES],
                        panel,
                        &mut self.products[to.at(point, block, 0)..][..tiles * LANES],
                    );
                }
            }
            assert!(self.products.len() >= to.len());
            let output = self.input.with_channels(self.filters.outputs);
            let corners = tile_corners(output, self.strips.clone());
            let start = self.strips.start * output.image_len() / output.strip().per_image;
            for (tile, (image, top, left)) in corners.enumerate() {
                for (block, panel) in group.clone().enumerate() {
                    // SAFETY: the block's values are there, as asserted.
                    let points: [[L; SIDE]; SIDE] = unsafe {
                        let place = self.products.as_ptr().add(to.at(0, block, tile));
                        load_points(place, to.point())
                    };
                    let tile = transform::both_ways::<Outputs, L, SIDE, TILE>(points);
                    let count = (output.channels - panel * LANES).min(LANES);
                    let rows = TILE.min(output.height - top);
                    let columns = TILE.min(output.width - left);
                    for y in 0..rows {
                        for x in 0..columns {
                            let position = (image * output.height + top + y) * output.width;
                            let at = (position + left + x) * output.channels + panel * LANES;
                            let out = &mut self.out[at - start..][..count];
                            // SAFETY: `out` has room for `count` floats.
                            unsafe {
                                self.epilogue
                                    .apply(tile[y][x], at - start, panel * LANES, count)
                                    .store_first(out.as_mut_ptr().cast(), count);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Tiles' channels `[block][tile][16]` times a panel: `[tile][16]`.
#[inline(always)]
fn multiply<L: Lanes>(left: &[f32], panel: &[f32], out: &mut [f32]) {
    let tiles = out.len() / LANES;
    let segments = Segments {
        depth: panel.len() / LANES,
        length: LANES,
        step: tiles * LANES,
    };
    assert!(left.len() >= segments.depth.div_ceil(LANES) * segments.step);
    by_rows!(L, tiles, |tile, R| {
        // SAFETY: all tiles' segments lie in `left`, as asserted, and there are R more tiles.
        unsafe {
            let rows = std::array::from_fn::<usize, R, _>(|row| row * LANES);
            let start = left.as_ptr().add(tile * LANES);
            let sums: [L; R] = rows_times_panel(start, rows, segments, panel.as_ptr());
            let out = out.as_mut_ptr().add(tile * LANES);
            for row in 0..R {
                sums[row].store(out.add(row * LANES));
            }
        }
    });
}
