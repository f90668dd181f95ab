//! Forward pass of the direct convolution: windows times panels of 16 output channels, a few images
//! per task.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Windows;
use crate::{
    conv::Epilogue,
    microkernel::{Segments, for_row_blocks, rows_times_panel},
    scratch::{uninit_vec, with_scratch},
    shape::ConvShape,
    simd::{F32x16, Kernel, LANES, dispatch},
};

/// Weights in panels of 16 output channels: `[c_out / 16][ky][kx][c_in][16]`, the order in which
/// they are read.
#[derive(Clone, Debug)]
pub struct PackedWeights(Vec<f32>);

impl PackedWeights {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        let (area, c_in) = (shape.kernel.pow(2), shape.input.channels);
        let depth = area * c_in;
        let mut values = vec![0.0; Self::len(shape)];
        for (output, weight) in weight.chunks_exact(depth).enumerate() {
            let panel = &mut values[output / LANES * depth * LANES..][..depth * LANES];
            for (channel, taps) in weight.chunks_exact(area).enumerate() {
                for (tap, value) in taps.iter().enumerate() {
                    panel[(tap * c_in + channel) * LANES + output % LANES] = *value;
                }
            }
        }
        Self(values)
    }

    fn len(shape: &ConvShape) -> usize {
        shape.c_out.next_multiple_of(LANES) * shape.kernel.pow(2) * shape.input.channels
    }
}

/// Output positions that a task computes at least (of whole images), so that each part of a panel
/// is used often while it is in the cache.
const MIN_ROWS: usize = 128;

/// Depth of a product block: this part of a panel stays in the L1 cache while it is applied to all
/// rows.
const DEPTH_BLOCK: usize = 256;

/// Convolution of `input` with `weights`, after `epilogue`.
pub fn conv2d(
    shape: &ConvShape,
    input: &[f32],
    weights: &PackedWeights,
    epilogue: Epilogue,
) -> Vec<f32> {
    assert!(input.len() == shape.input.numel() && weights.0.len() == PackedWeights::len(shape));
    let windows = Windows::new(shape);
    let (output, image_len) = (shape.output(), shape.input.image_numel());
    let per_thread = output.images.div_ceil(rayon::current_num_threads());
    let images_per_task = MIN_ROWS.div_ceil(output.positions()).min(per_thread.max(1));
    let chunk = images_per_task * output.image_numel();
    let starts = windows.starts_in(images_per_task);
    let compute = |(number, (out, images)): (usize, (&mut [MaybeUninit<f32>], &[f32]))| {
        let count = images.len() / image_len;
        let padded_images = if shape.padding == 0 { 0 } else { count };
        let rows = count * output.positions();
        let lens = [padded_images * windows.len(), rows * LANES];
        with_scratch(lens, |[padded, sums]| {
            padded.fill(0.0);
            let places = padded.chunks_exact_mut(windows.len());
            for (image, padded) in images.chunks_exact(image_len).zip(places) {
                windows.pad(shape, image, padded);
            }
            dispatch(ForwardTask {
                windows: &windows,
                starts: &starts[..rows],
                images: if padded_images == 0 { images } else { padded },
                weights: &weights.0,
                epilogue: epilogue.from(number * chunk),
                channels: shape.c_out,
                sums,
                out,
            });
        });
    };
    // SAFETY: the tasks cover the output, and each writes all of its part.
    unsafe {
        uninit_vec(output.numel(), |out| {
            out.par_chunks_mut(chunk)
                .zip(input.par_chunks(images_per_task * image_len))
                .enumerate()
                .for_each(compute);
        })
    }
}

struct ForwardTask<'a> {
    windows: &'a Windows,
    /// Start of the window of each output position.
    starts: &'a [usize],
    /// Images, zero-padded if there is padding.
    images: &'a [f32],
    weights: &'a [f32],
    epilogue: Epilogue<'a>,
    channels: usize,
    /// Partial sums of 16 channels of each output position, between depth blocks.
    sums: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl ForwardTask<'_> {
    /// Depth blocks of a window: the start and the segments of each.
    fn depth_blocks(&self, depth: usize) -> Vec<(usize, Segments)> {
        let Windows { row, run, .. } = *self.windows;
        if depth <= DEPTH_BLOCK {
            let len = run;
            return vec![(
                0,
                Segments {
                    depth,
                    len,
                    stride: row,
                },
            )];
        }
        let block_len = run.div_ceil(run.div_ceil(DEPTH_BLOCK));
        let rows = (0..depth / run).map(|y| y * row);
        let depth_blocks =
            rows.flat_map(|row| (0..run).step_by(block_len).map(move |at| (row, at)));
        let part = |(row, at): (usize, usize)| {
            let depth = block_len.min(run - at);
            (
                row + at,
                Segments {
                    depth,
                    len: depth,
                    stride: 0,
                },
            )
        };
        depth_blocks.map(part).collect()
    }
}

impl Kernel for ForwardTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(self) {
        let (windows, channels) = (self.windows, self.channels);
        let (starts, rows) = (self.starts, self.starts.len());
        let depth = self.weights.len() / channels.next_multiple_of(LANES);
        let depth_blocks = self.depth_blocks(depth);
        assert!(self.images.len() * windows.starts.len() == rows * windows.len());
        assert!(self.sums.len() >= rows * LANES && self.out.len() == rows * channels);
        let (images, sums) = (self.images.as_ptr(), self.sums.as_mut_ptr());
        for (block, panel) in self.weights.chunks_exact(depth * LANES).enumerate() {
            let channel = block * LANES;
            let count = (channels - channel).min(LANES);
            let mut panel = panel.as_ptr();
            for (number, &(start, segments)) in depth_blocks.iter().enumerate() {
                let (first, last) = (number == 0, number + 1 == depth_blocks.len());
                for_row_blocks!(V, rows, |at, R| {
                    let starts = std::array::from_fn::<usize, R, _>(|row| starts[at + row]);
                    // SAFETY: windows lie in the images and outputs in `out`; there are R more rows
                    // of sums.
                    unsafe {
                        let sums = sums.add(at * LANES);
                        let mut sum = [V::splat(0.0); R];
                        if !first {
                            for row in 0..R {
                                sum[row] = V::load(sums.add(row * LANES));
                            }
                        }
                        let sum = rows_times_panel(sum, images.add(start), starts, segments, panel);
                        for row in 0..R {
                            if last {
                                let at = (at + row) * channels + channel;
                                let value = self.epilogue.apply(sum[row], at, channel, count);
                                value.store_partial(self.out.as_mut_ptr().add(at).cast(), count);
                            } else {
                                sum[row].store(sums.add(row * LANES));
                            }
                        }
                    }
                });
                panel = panel.wrapping_add(segments.depth * LANES);
            }
        }
    }
}
