//! Winograd forward pass in three phases: input transform, one matrix product per point, output
//! transform.
//!
//! With small weights, a task takes some bands of tiles through all three phases in the cache of
//! its core. Large weights would be read from memory by every task; then all tasks do one phase
//! after the other, on so many tiles that weights are read only once per pass.

use std::{mem::MaybeUninit, ops::Range, slice::ChunksExact};

use rayon::prelude::*;

use super::{
    TileLayout, Tiled, WinogradWeights, input_transform, output::output_transform,
    transform::POINTS, weights::PANELS_PER_GROUP,
};
use crate::{
    conv::Epilogue,
    microkernel::{Segments, for_row_blocks, rows_times_panel},
    scratch::{DisjointSlice, uninit_vec, with_scratch},
    shape::NhwcShape,
    simd::{F32x16, Kernel, LANES, dispatch, register_rows},
};

/// Tiles of a pass, with large weights.
const TILES_PER_PASS: usize = 96;
/// Panels that a task of the product phase multiplies.
const PANELS_PER_TASK: usize = 8;

/// Convolution of `input`, whose floats are `values`, with `weights`, after `epilogue`.
pub fn conv2d(
    input: NhwcShape,
    values: &[f32],
    weights: &WinogradWeights,
    epilogue: Epilogue,
) -> Vec<f32> {
    assert!(values.len() == input.numel() && weights.inputs == input.channels);
    let bands = input.images * input.band().per_image;
    let bands_per_part = if weights.is_large() {
        bands.div_ceil((bands * input.band().tiles).div_ceil(TILES_PER_PASS))
    } else {
        bands_per_task(input, bands)
    };
    let output = input.with_channels(weights.outputs);
    let chunk = bands_per_part * output.image_numel() / output.band().per_image;
    let zeros = vec![0.0; input.blocks() * LANES];
    let range = |number: usize| BandRange {
        input,
        output,
        bands: number * bands_per_part..bands.min((number + 1) * bands_per_part),
        values,
        zeros: &zeros,
        weights,
        epilogue: epilogue.from(number * chunk),
    };
    let write = |out: &mut [MaybeUninit<f32>]| {
        if weights.is_large() {
            let chunks = out.chunks_mut(chunk).enumerate();
            chunks.for_each(|(number, out)| range(number).run_phased(out));
        } else {
            let chunks = out.par_chunks_mut(chunk).enumerate();
            chunks.for_each(|(number, out)| range(number).run_fused(out));
        }
    };
    // SAFETY: the ranges cover the output, and each writes all of its part.
    unsafe { uninit_vec(output.numel(), write) }
}

/// Bands per task: enough to fill the register blocks, few enough for the cache of a core, and a
/// multiple of the threads in tasks.
fn bands_per_task(input: NhwcShape, bands: usize) -> usize {
    let tiles: usize = if input.channels > 32 { 24 } else { 48 };
    let tiles = tiles.next_multiple_of(register_rows());
    let least = (tiles / input.band().tiles).max(1);
    let threads = rayon::current_num_threads();
    let tasks = bands.div_ceil(least).next_multiple_of(threads);
    bands.div_ceil(tasks)
}

/// Consecutive bands, and what their convolution reads.
struct BandRange<'a> {
    input: NhwcShape,
    output: NhwcShape,
    bands: Range<usize>,
    values: &'a [f32],
    zeros: &'a [f32],
    weights: &'a WinogradWeights,
    /// Of the outputs from the first of these bands on.
    epilogue: Epilogue<'a>,
}

impl BandRange<'_> {
    fn layout(&self, blocks: usize) -> TileLayout {
        TileLayout {
            tiles: self.bands.len() * self.input.band().tiles,
            blocks,
        }
    }

    /// Input transform of `bands`.
    ///
    /// # Safety
    /// As for [`input_transform`].
    #[inline(always)]
    unsafe fn transform_input<V: F32x16>(
        &self,
        bands: Range<usize>,
        layout: TileLayout,
        points: *mut f32,
    ) {
        // SAFETY: as the caller promises.
        unsafe { input_transform::<V>(self.input, bands, self.values, self.zeros, layout, points) };
    }

    /// All phases in one task.
    fn run_fused(&self, out: &mut [MaybeUninit<f32>]) {
        let from = self.layout(self.input.blocks());
        let lens = [from.len(), self.layout(PANELS_PER_GROUP).len()];
        with_scratch(lens, |[pixels, products]| {
            dispatch(FusedTask {
                range: self,
                from,
                pixels,
                products,
                out,
            });
        });
    }

    /// One phase after the other, each on all threads.
    fn run_phased(&self, out: &mut [MaybeUninit<f32>]) {
        let from = self.layout(self.input.blocks());
        let to = self.layout(self.output.blocks());
        let tiles = self.input.band().tiles;
        let count = self.bands.len();
        with_scratch([from.len(), to.len()], |[pixels, products]| {
            let points = DisjointSlice::new(pixels);
            (0..count).into_par_iter().for_each(|band| {
                dispatch(InputTask {
                    range: self,
                    band: self.bands.start + band,
                    layout: from,
                    // SAFETY: each band has tiles of its own, which only this task writes.
                    points: unsafe { points.ptr_at(band * tiles * LANES) },
                });
            });

            let panel = self.weights.inputs * LANES;
            let points = self.weights.points().zip(pixels.chunks(from.point()));
            let points: Vec<_> = points.collect();
            let products_of = products.par_chunks_mut(to.point()).zip(points);
            products_of.for_each(|(products, (panels, left))| {
                let products = &mut products[..to.blocks * to.tiles * LANES];
                let some = products.par_chunks_mut(PANELS_PER_TASK * to.tiles * LANES);
                let some = some.zip(panels.par_chunks(PANELS_PER_TASK * panel));
                some.for_each(|(products, panels)| {
                    let panels = panels.chunks_exact(panel);
                    dispatch(ProductTask(left, panels, products, to.tiles));
                });
            });

            let chunk = out.len() / count;
            let bands = out.par_chunks_mut(chunk).enumerate();
            bands.for_each(|(band, out)| {
                dispatch(OutputTask {
                    range: self,
                    band,
                    layout: to,
                    products,
                    out,
                });
            });
        });
    }
}

/// All phases of a range of bands.
struct FusedTask<'a> {
    range: &'a BandRange<'a>,
    from: TileLayout,
    pixels: &'a mut [f32],
    products: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for FusedTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let Self { range, from, .. } = self;
        assert!(self.pixels.len() >= from.len());
        let points = self.pixels.as_mut_ptr();
        // SAFETY: there is room for all tiles, as asserted.
        unsafe { range.transform_input::<V>(range.bands.clone(), from, points) };
        for (group, mut panels) in range.weights.groups().enumerate() {
            let to = range.layout(panels.len() / POINTS);
            for point in 0..POINTS {
                let left = &self.pixels[from.at(point, 0, 0)..][..from.point()];
                let products = &mut self.products[to.at(point, 0, 0)..][..to.point()];
                let panels = panels.by_ref().take(to.blocks);
                multiply_panels::<V>(left, panels, products, to.tiles);
            }
            let first = group * PANELS_PER_GROUP * LANES;
            let products = (&*self.products, to, 0);
            output_transform::<V>(
                range.output,
                range.bands.clone(),
                products,
                first,
                range.epilogue,
                self.out,
            );
        }
    }
}

/// Input transform of one band.
struct InputTask<'a> {
    range: &'a BandRange<'a>,
    band: usize,
    layout: TileLayout,
    points: *mut f32,
}

impl Kernel for InputTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let bands = self.band..self.band + 1;
        // SAFETY: `run_phased` passes room for the tiles of the band.
        unsafe {
            self.range
                .transform_input::<V>(bands, self.layout, self.points)
        };
    }
}

/// Tiles at one point times some panels, see [`multiply_panels`].
struct ProductTask<'a>(&'a [f32], ChunksExact<'a, f32>, &'a mut [f32], usize);

impl Kernel for ProductTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let Self(left, panels, products, tiles) = self;
        multiply_panels::<V>(left, panels, products, tiles);
    }
}

/// Output transform of one band, counted within the range.
struct OutputTask<'a> {
    range: &'a BandRange<'a>,
    band: usize,
    layout: TileLayout,
    products: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for OutputTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let Self { range, band, .. } = self;
        let tile = band * range.input.band().tiles;
        let products = (self.products, self.layout, tile);
        let epilogue = range.epilogue.from(band * self.out.len());
        let band = range.bands.start + band;
        output_transform::<V>(
            range.output,
            band..band + 1,
            products,
            0,
            epilogue,
            self.out,
        );
    }
}

/// Product at one point of tiles `[block][tile][16]` with each panel: `[tile][16]`.
#[inline(always)]
fn multiply_panels<'a, V: F32x16>(
    left: &[f32],
    panels: impl Iterator<Item = &'a [f32]>,
    products: &mut [f32],
    tiles: usize,
) {
    for (panel, products) in panels.zip(products.chunks_exact_mut(tiles * LANES)) {
        let segments = Segments {
            depth: panel.len() / LANES,
            len: LANES,
            stride: tiles * LANES,
        };
        assert!(left.len() >= segments.depth.div_ceil(LANES) * segments.stride);
        for_row_blocks!(V, tiles, |tile, R| {
            // SAFETY: the segments of all tiles lie in `left`, as asserted, and there are R more
            // tiles.
            unsafe {
                let rows = std::array::from_fn::<usize, R, _>(|row| row * LANES);
                let start = left.as_ptr().add(tile * LANES);
                let sums = [V::splat(0.0); R];
                let sums = rows_times_panel(sums, start, rows, segments, panel.as_ptr());
                let products = products.as_mut_ptr().add(tile * LANES);
                for row in 0..R {
                    sums[row].store(products.add(row * LANES));
                }
            }
        });
    }
}
