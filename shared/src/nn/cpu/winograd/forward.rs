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
    Filters, Layout, Points, Tiled,
    pack::GROUP,
    tile_corners, to_points,
    transform::{self, Outputs, POINTS, SIDE, TILE, Target},
};

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
        let layouts = [at_points(input.blocks()), at_points(GROUP)];
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
    fn run<L: Lanes>(mut self) {
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
        for (group, mut panels) in self.filters.groups().enumerate() {
            let to = Layout {
                tiles,
                blocks: panels.len() / POINTS,
            };
            for point in 0..POINTS {
                for (block, panel) in panels.by_ref().take(to.blocks).enumerate() {
                    multiply::<L>(
                        &self.pixels[from.at(point, 0, 0)..][..from.blocks * tiles * LANES],
                        panel,
                        &mut self.products[to.at(point, block, 0)..][..tiles * LANES],
                    );
                }
            }
            self.to_outputs::<L>(to, group * GROUP * LANES);
        }
    }
}

impl Task<'_> {
    /// Brings products from the points to the outputs' channels from number `first` on.
    #[inline(always)]
    fn to_outputs<L: Lanes>(&mut self, layout: Layout, first: usize) {
        assert!(self.products.len() >= layout.len());
        let output = self.input.with_channels(self.filters.outputs);
        let start = self.strips.start * output.image_len() / output.strip().per_image;
        let corners = tile_corners(output, self.strips.clone());
        for (tile, (image, top, left)) in corners.enumerate() {
            for block in 0..layout.blocks {
                let channel = first + block * LANES;
                let position = (image * output.height + top) * output.width + left;
                let place = Place {
                    epilogue: self.epilogue,
                    at: position * output.channels + channel - start,
                    channel,
                    steps: [output.width * output.channels, output.channels],
                    rows: TILE.min(output.height - top),
                    columns: TILE.min(output.width - left),
                    count: (output.channels - channel).min(LANES),
                    out: self.out,
                };
                // SAFETY: the block's values are there, as asserted.
                unsafe {
                    let from = Points {
                        start: self.products.as_mut_ptr().add(layout.at(0, block, tile)),
                        step: layout.point(),
                    };
                    place.receive::<L>(from);
                }
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
