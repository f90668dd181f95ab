//! Images through filters: `[B,H,W,C]` comes in, `[B,H,W,K]` goes out, by three phases: pixels to
//! points, products, points to outputs.
//!
//! With few filters, a task goes through all three with some strips of tiles in its own cache. Many
//! filters would have to come from memory for every task; there, all tasks do one phase after the
//! other, with so many tiles that the filters are read but once for them.

use std::{mem::MaybeUninit, ops::Range, slice::ChunksExact};

use rayon::prelude::*;

use super::{
    Filters, Layout, Tiled, output::to_outputs, to_points, transform::POINTS, weights::GROUP,
};
use crate::{
    conv::Epilogue,
    microkernel::{Segments, by_rows, rows_times_panel},
    scratch::{Shared, with_scratch, written},
    shape::NhwcShape,
    simd::{Kernel, LANES, Lanes, dispatch, rows_in_registers},
};

/// Tiles that go through the phases together.
const TOGETHER: usize = 96;
/// Panels that a task of the second phase multiplies.
const PANELS: usize = 8;

/// The convolution of `input` with `filters`, and what `epilogue` does to it.
pub fn correlate(
    input: NhwcShape,
    values: &[f32],
    filters: &Filters,
    epilogue: Epilogue,
) -> Vec<f32> {
    assert!(values.len() == input.numel() && filters.inputs == input.channels);
    let strips = input.images * input.strip().per_image;
    let at_once = match filters.are_many() {
        true => strips.div_ceil((strips * input.strip().tiles).div_ceil(TOGETHER)),
        false => strips_at_once(input, strips),
    };
    let output = input.with_channels(filters.outputs);
    let chunk = at_once * output.image_numel() / output.strip().per_image;
    let zeros = vec![0.0; input.blocks() * LANES];
    let part = |number: usize| Part {
        input,
        output,
        strips: number * at_once..strips.min((number + 1) * at_once),
        values,
        zeros: &zeros,
        filters,
        epilogue: epilogue.from(number * chunk),
    };
    let write = |out: &mut [MaybeUninit<f32>]| match filters.are_many() {
        true => {
            let chunks = out.chunks_mut(chunk).enumerate();
            chunks.for_each(|(number, out)| part(number).together(out));
        }
        false => {
            let chunks = out.par_chunks_mut(chunk).enumerate();
            chunks.for_each(|(number, out)| part(number).alone(out));
        }
    };
    // SAFETY: the parts cover the output, and each writes all of its own.
    unsafe { written(output.numel(), write) }
}

/// As many strips as keep a task's values in the cache of one core, the registers full, and all cores at
/// work.
fn strips_at_once(input: NhwcShape, strips: usize) -> usize {
    let tiles: usize = if input.channels > 32 { 24 } else { 48 };
    let tiles = tiles.next_multiple_of(rows_in_registers());
    let least = (tiles / input.strip().tiles).max(1);
    let threads = rayon::current_num_threads();
    let tasks = strips.div_ceil(least).next_multiple_of(threads);
    strips.div_ceil(tasks)
}

/// Some strips of the images.
struct Part<'a> {
    input: NhwcShape,
    output: NhwcShape,
    strips: Range<usize>,
    values: &'a [f32],
    zeros: &'a [f32],
    filters: &'a Filters,
    /// From the first of these strips' outputs on.
    epilogue: Epilogue<'a>,
}

impl Part<'_> {
    fn layout(&self, blocks: usize) -> Layout {
        Layout {
            tiles: self.strips.len() * self.input.strip().tiles,
            blocks,
        }
    }

    /// Brings strips to the points.
    ///
    /// # Safety
    /// As for [`to_points`].
    #[inline(always)]
    unsafe fn enter<L: Lanes>(&self, strips: Range<usize>, layout: Layout, points: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe { to_points::<L>(self.input, strips, self.values, self.zeros, layout, points) };
    }

    /// One task through all phases.
    fn alone(&self, out: &mut [MaybeUninit<f32>]) {
        let from = self.layout(self.input.blocks());
        let lens = [from.len(), self.layout(GROUP).len()];
        with_scratch(lens, |[pixels, products]| {
            dispatch(Alone {
                part: self,
                from,
                pixels,
                products,
                out,
            });
        });
    }

    /// All tasks through one phase after the other.
    fn together(&self, out: &mut [MaybeUninit<f32>]) {
        let from = self.layout(self.input.blocks());
        let to = self.layout(self.output.blocks());
        let tiles = self.input.strip().tiles;
        let count = self.strips.len();
        with_scratch([from.len(), to.len()], |[pixels, products]| {
            let points = Shared::new(pixels);
            (0..count).into_par_iter().for_each(|strip| {
                dispatch(Enter {
                    part: self,
                    strip: self.strips.start + strip,
                    layout: from,
                    // SAFETY: every strip has tiles of its own, which only this task writes.
                    points: unsafe { points.at(strip * tiles * LANES) },
                });
            });

            let panel = self.filters.inputs * LANES;
            let points = self.filters.points().zip(pixels.chunks(from.point()));
            let points: Vec<_> = points.collect();
            let products_of = products.par_chunks_mut(to.point()).zip(points);
            products_of.for_each(|(products, (panels, left))| {
                let products = &mut products[..to.blocks * to.tiles * LANES];
                let some = products.par_chunks_mut(PANELS * to.tiles * LANES);
                let some = some.zip(panels.par_chunks(PANELS * panel));
                some.for_each(|(products, panels)| {
                    let panels = panels.chunks_exact(panel);
                    dispatch(Multiply(left, panels, products, to.tiles));
                });
            });

            let chunk = out.len() / count;
            let strips = out.par_chunks_mut(chunk).enumerate();
            strips.for_each(|(strip, out)| {
                dispatch(Leave {
                    part: self,
                    strip,
                    layout: to,
                    products,
                    out,
                });
            });
        });
    }
}

/// A task that goes through all phases.
struct Alone<'a> {
    part: &'a Part<'a>,
    from: Layout,
    pixels: &'a mut [f32],
    products: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Alone<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { part, from, .. } = self;
        assert!(self.pixels.len() >= from.len());
        let points = self.pixels.as_mut_ptr();
        // SAFETY: there is room for all tiles, as asserted.
        unsafe { part.enter::<L>(part.strips.clone(), from, points) };
        for (group, mut panels) in part.filters.groups().enumerate() {
            let to = part.layout(panels.len() / POINTS);
            for point in 0..POINTS {
                let left = &self.pixels[from.at(point, 0, 0)..][..from.point()];
                let products = &mut self.products[to.at(point, 0, 0)..][..to.point()];
                let panels = panels.by_ref().take(to.blocks);
                multiply::<L>(left, panels, products, to.tiles);
            }
            let first = group * GROUP * LANES;
            let products = (&*self.products, to, 0);
            to_outputs::<L>(
                part.output,
                part.strips.clone(),
                products,
                first,
                part.epilogue,
                self.out,
            );
        }
    }
}

/// A strip to the points.
struct Enter<'a> {
    part: &'a Part<'a>,
    strip: usize,
    layout: Layout,
    points: *mut f32,
}

impl Kernel for Enter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let strips = self.strip..self.strip + 1;
        // SAFETY: there is room for the strip's tiles, as `together` sees to.
        unsafe { self.part.enter::<L>(strips, self.layout, self.points) };
    }
}

/// Tiles at a point times some panels, see [`multiply`].
struct Multiply<'a>(&'a [f32], ChunksExact<'a, f32>, &'a mut [f32], usize);

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(left, panels, products, tiles) = self;
        multiply::<L>(left, panels, products, tiles);
    }
}

/// A strip, counted within the part, from the points.
struct Leave<'a> {
    part: &'a Part<'a>,
    strip: usize,
    layout: Layout,
    products: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Leave<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { part, strip, .. } = self;
        let tile = strip * part.input.strip().tiles;
        let products = (self.products, self.layout, tile);
        let epilogue = part.epilogue.from(strip * self.out.len());
        let strip = part.strips.start + strip;
        to_outputs::<L>(
            part.output,
            strip..strip + 1,
            products,
            0,
            epilogue,
            self.out,
        );
    }
}

/// Tiles' channels `[block][tile][16]` times some panels: for each of them `[tile][16]`.
#[inline(always)]
fn multiply<'a, L: Lanes>(
    left: &[f32],
    panels: impl Iterator<Item = &'a [f32]>,
    products: &mut [f32],
    tiles: usize,
) {
    for (panel, products) in panels.zip(products.chunks_exact_mut(tiles * LANES)) {
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
                let sums = [L::splat(0.0); R];
                let sums = rows_times_panel(sums, start, rows, segments, panel.as_ptr());
                let products = products.as_mut_ptr().add(tile * LANES);
                for row in 0..R {
                    sums[row].store(products.add(row * LANES));
                }
            }
        });
    }
}
