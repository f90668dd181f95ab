//! Forward: images and packed weights come in, outputs go out, an image at a time.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Windows;
use crate::{
    conv::Epilogue,
    microkernel::{Segments, by_rows, rows_times_panel},
    scratch::{with_scratch, written},
    shape::ConvShape,
    simd::{Kernel, LANES, Lanes, dispatch},
};

/// Weights as the products read them: `[c_out / 16][ky][kx][c_in][16]`.
#[derive(Clone, Debug)]
pub struct Panels(Vec<f32>);

impl Panels {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(geometry: &ConvShape, weight: &[f32]) -> Self {
        let (area, c_in) = (geometry.kernel.pow(2), geometry.input.channels);
        let depth = area * c_in;
        let mut values = vec![0.0; geometry.c_out.next_multiple_of(LANES) * depth];
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
}

/// Outputs that a task computes, at least, of a whole image or more: so often a part of a panel is
/// used while it is near.
const ROWS: usize = 128;

/// Numbers of a window that are multiplied before the next ones are: their part of a panel stays in
/// the nearest cache meanwhile.
const PART: usize = 256;

/// The convolution of `input` with `panels`, and what `epilogue` does to it.
pub fn correlate(
    geometry: &ConvShape,
    input: &[f32],
    panels: &Panels,
    epilogue: Epilogue,
) -> Vec<f32> {
    assert!(input.len() == geometry.input.numel());
    let windows = Windows::new(geometry);
    let (output, image_len) = (geometry.output(), geometry.input.image_numel());
    let per_thread = output.images.div_ceil(rayon::current_num_threads());
    let together = ROWS.div_ceil(output.positions()).min(per_thread.max(1));
    let chunk = together * output.image_numel();
    let starts = windows.starts_in(together);
    let compute = |(number, (out, pictures)): (usize, (&mut [MaybeUninit<f32>], &[f32]))| {
        let images = pictures.len() / image_len;
        let copies = if geometry.padding == 0 { 0 } else { images };
        let rows = images * output.positions();
        let lens = [copies * windows.len(), rows * LANES];
        with_scratch(lens, |[padded, sums]| {
            padded.fill(0.0);
            let places = padded.chunks_exact_mut(windows.len());
            for (picture, padded) in pictures.chunks_exact(image_len).zip(places) {
                windows.pad(geometry, picture, padded);
            }
            dispatch(Task {
                windows: &windows,
                starts: &starts[..rows],
                pictures: if copies == 0 { pictures } else { padded },
                panels: &panels.0,
                epilogue: epilogue.from(number * chunk),
                channels: geometry.c_out,
                sums,
                out,
            });
        });
    };
    // SAFETY: the tasks cover the output, and every task writes all of its own.
    unsafe {
        written(output.numel(), |out| {
            out.par_chunks_mut(chunk)
                .zip(input.par_chunks(together * image_len))
                .enumerate()
                .for_each(compute);
        })
    }
}

struct Task<'a> {
    windows: &'a Windows,
    /// Where each output's window starts in the images.
    starts: &'a [usize],
    /// Some, with zeros around them where windows see any.
    pictures: &'a [f32],
    panels: &'a [f32],
    epilogue: Epilogue<'a>,
    channels: usize,
    /// Of sixteen channels of each output, what the parts so far add up to.
    sums: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Task<'_> {
    /// The parts of a window: where each starts, and how it goes on.
    fn parts(&self, depth: usize) -> Vec<(usize, Segments)> {
        let Windows { row, run, .. } = *self.windows;
        if depth <= PART {
            let length = run;
            return vec![(
                0,
                Segments {
                    depth,
                    length,
                    step: row,
                },
            )];
        }
        let at_once = run.div_ceil(run.div_ceil(PART));
        let rows = (0..depth / run).map(|y| y * row);
        let parts = rows.flat_map(|row| (0..run).step_by(at_once).map(move |at| (row, at)));
        let part = |(row, at): (usize, usize)| {
            let depth = at_once.min(run - at);
            (
                row + at,
                Segments {
                    depth,
                    length: depth,
                    step: 0,
                },
            )
        };
        parts.map(part).collect()
    }
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (windows, channels) = (self.windows, self.channels);
        let (starts, rows) = (self.starts, self.starts.len());
        let depth = self.panels.len() / channels.next_multiple_of(LANES);
        let parts = self.parts(depth);
        assert!(self.pictures.len() * windows.starts.len() == rows * windows.len());
        assert!(self.sums.len() >= rows * LANES && self.out.len() == rows * channels);
        let (pictures, sums) = (self.pictures.as_ptr(), self.sums.as_mut_ptr());
        for (block, panel) in self.panels.chunks_exact(depth * LANES).enumerate() {
            let channel = block * LANES;
            let count = (channels - channel).min(LANES);
            let mut panel = panel.as_ptr();
            for (number, &(start, segments)) in parts.iter().enumerate() {
                let (first, last) = (number == 0, number + 1 == parts.len());
                by_rows!(L, rows, |at, R| {
                    let starts = std::array::from_fn::<usize, R, _>(|row| starts[at + row]);
                    // SAFETY: every window lies in its image, every output in `out`, and there are
                    // sums of R more rows.
                    unsafe {
                        let sums = sums.add(at * LANES);
                        let mut sum = [L::splat(0.0); R];
                        if !first {
                            for row in 0..R {
                                sum[row] = L::load(sums.add(row * LANES));
                            }
                        }
                        let sum =
                            rows_times_panel(sum, pictures.add(start), starts, segments, panel);
                        for row in 0..R {
                            if last {
                                let at = (at + row) * channels + channel;
                                let value = self.epilogue.apply(sum[row], at, channel, count);
                                value.store_first(self.out.as_mut_ptr().add(at).cast(), count);
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
