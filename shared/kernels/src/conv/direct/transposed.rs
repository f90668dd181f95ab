//! The transpose, which is the gradient of the input and the transposed convolution: outputs and
//! packed weights come in, what every output adds to its window goes out, an image at a time.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Windows;
use crate::{
    conv::Epilogue,
    microkernel::{Segments, by_rows, rows_times_panel},
    scratch::{with_scratch, written},
    shape::{ConvShape, NhwcShape},
    simd::{Kernel, LANES, Lanes, dispatch},
};

/// Weights as the products read them: `[ky][kx * c_in / 16][c_out][16]`.
#[derive(Clone, Debug)]
pub struct TransposedPanels(Vec<f32>);

impl TransposedPanels {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(geometry: &ConvShape, weight: &[f32]) -> Self {
        let (kernel, c_in, c_out) = (geometry.kernel, geometry.input.channels, geometry.c_out);
        let columns = (kernel * c_in).next_multiple_of(LANES);
        let mut values = vec![0.0; kernel * columns * c_out];
        let panels = values.par_chunks_mut(c_out * LANES).enumerate();
        panels.for_each(|(number, panel)| {
            let (y, first) = (number * LANES / columns, number * LANES % columns);
            let places = (first..(kernel * c_in).min(first + LANES)).map(|column| {
                let (x, input) = (column / c_in, column % c_in);
                (input * kernel + y) * kernel + x
            });
            for (lane, place) in places.enumerate() {
                let outputs = weight.chunks_exact(c_in * kernel.pow(2));
                for (row, weight) in panel.chunks_exact_mut(LANES).zip(outputs) {
                    row[lane] = weight[place];
                }
            }
        });
        Self(values)
    }
}

/// What the outputs' values `gradient` add up to in the input, and what `epilogue` does to it.
pub fn scatter(
    geometry: &ConvShape,
    gradient: &[f32],
    panels: &TransposedPanels,
    epilogue: Epilogue,
) -> Vec<f32> {
    let (input, output) = (geometry.input, geometry.output());
    assert!(gradient.len() == output.numel());
    let windows = Windows::new(geometry);
    let chunk = input.image_numel();
    let compute = |(image, (out, gradient)): (usize, (&mut [MaybeUninit<f32>], &[f32]))| {
        with_scratch([windows.len()], |[padded]| {
            padded.fill(0.0);
            dispatch(Task {
                geometry,
                windows: &windows,
                gradient,
                panels: &panels.0,
                epilogue: epilogue.from(image * chunk),
                padded,
                out,
            });
        });
    };
    // SAFETY: the tasks cover the result, and every task writes all of its own.
    unsafe {
        written(input.numel(), |out| {
            out.par_chunks_mut(chunk)
                .zip(gradient.par_chunks(output.image_numel()))
                .enumerate()
                .for_each(compute);
        })
    }
}

struct Task<'a> {
    geometry: &'a ConvShape,
    windows: &'a Windows,
    gradient: &'a [f32],
    panels: &'a [f32],
    epilogue: Epilogue<'a>,
    padded: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        self.add_windows::<L>();
        let ConvShape { input, padding, .. } = *self.geometry;
        let NhwcShape {
            height,
            width,
            channels,
            ..
        } = input;
        assert!(self.out.len() == input.image_numel());
        // Pixels that no window sees get nothing.
        let (rows, columns) = self.windows.seen(self.geometry);
        for y in 0..height {
            for x in 0..width {
                for channel in (0..channels).step_by(LANES) {
                    let count = (channels - channel).min(LANES);
                    let at = (y * width + x) * channels + channel;
                    let out = &mut self.out[at..][..count];
                    // SAFETY: what is seen lies in the padded image; `out` has room.
                    unsafe {
                        let mut sum = L::splat(0.0);
                        if y < rows && x < columns {
                            let from = (y + padding) * self.windows.row
                                + (x + padding) * channels
                                + channel;
                            sum = L::load_first(self.padded.as_ptr().add(from), count);
                        }
                        self.epilogue
                            .apply(sum, at, channel, count)
                            .store_first(out.as_mut_ptr().cast(), count);
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// Adds every output's window to the padded image.
    #[inline(always)]
    fn add_windows<L: Lanes>(&mut self) {
        let Windows { row, run, .. } = *self.windows;
        let starts = &self.windows.starts;
        let channels = self.geometry.c_out;
        let segments = Segments {
            depth: channels,
            length: channels,
            step: 0,
        };
        assert!(self.gradient.len() == starts.len() * channels);
        assert!(self.padded.len() == self.windows.len());
        let across = run.div_ceil(LANES);
        for (block, panel) in self.panels.chunks_exact(channels * LANES).enumerate() {
            let (y, column) = (block / across, block % across * LANES);
            let count = (run - column).min(LANES);
            by_rows!(L, starts.len(), |position, R| {
                // SAFETY: there are R more rows of the gradient, and every window lies in the
                // padded image.
                unsafe {
                    let rows = std::array::from_fn::<usize, R, _>(|i| i * channels);
                    let left = self.gradient.as_ptr().add(position * channels);
                    let sums = [L::splat(0.0); R];
                    let sums = rows_times_panel(sums, left, rows, segments, panel.as_ptr());
                    for i in 0..R {
                        let at = starts[position + i] + y * row + column;
                        let place = self.padded.as_mut_ptr().add(at);
                        (L::load_first(place, count) + sums[i]).store_first(place, count);
                    }
                }
            });
        }
    }
}
