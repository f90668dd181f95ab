//! Input gradient of the direct convolution, which is also the transposed convolution: output
//! gradients times packed weights, added into the window of each position (col2im), an image per
//! task.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Windows;
use crate::{
    conv::Epilogue,
    microkernel::{Segments, for_row_blocks, rows_times_panel},
    scratch::{uninit_vec, with_scratch},
    shape::{ConvShape, NhwcShape},
    simd::{F32x16, Kernel, LANES, dispatch},
};

/// Weights in panels of 16 columns of a kernel row: `[ky][kx * c_in / 16][c_out][16]`.
#[derive(Clone, Debug)]
pub struct TransposedWeights(Vec<f32>);

impl TransposedWeights {
    /// Packs `weight` `[c_out, c_in, kernel, kernel]`.
    pub fn new(shape: &ConvShape, weight: &[f32]) -> Self {
        let (kernel, c_in, c_out) = (shape.kernel, shape.input.channels, shape.c_out);
        let columns = (kernel * c_in).next_multiple_of(LANES);
        let mut values = vec![0.0; Self::len(shape)];
        let weights = values.par_chunks_mut(c_out * LANES).enumerate();
        weights.for_each(|(number, panel)| {
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

    fn len(shape: &ConvShape) -> usize {
        shape.kernel * (shape.kernel * shape.input.channels).next_multiple_of(LANES) * shape.c_out
    }
}

/// Gradient of the input from `grad_output`, after `epilogue`.
pub fn input_gradient(
    shape: &ConvShape,
    grad_output: &[f32],
    weights: &TransposedWeights,
    epilogue: Epilogue,
) -> Vec<f32> {
    let (input, output) = (shape.input, shape.output());
    assert!(grad_output.len() == output.numel());
    assert!(weights.0.len() == TransposedWeights::len(shape));
    let windows = Windows::new(shape);
    let chunk = input.image_numel();
    let compute = |(image, (out, grad_output)): (usize, (&mut [MaybeUninit<f32>], &[f32]))| {
        with_scratch([windows.len()], |[padded]| {
            padded.fill(0.0);
            dispatch(ScatterTask {
                shape,
                windows: &windows,
                grad_output,
                weights: &weights.0,
                epilogue: epilogue.from(image * chunk),
                padded,
                out,
            });
        });
    };
    // SAFETY: the tasks cover the result, and each writes all of its part.
    unsafe {
        uninit_vec(input.numel(), |out| {
            out.par_chunks_mut(chunk)
                .zip(grad_output.par_chunks(output.image_numel()))
                .enumerate()
                .for_each(compute);
        })
    }
}

struct ScatterTask<'a> {
    shape: &'a ConvShape,
    windows: &'a Windows,
    grad_output: &'a [f32],
    weights: &'a [f32],
    epilogue: Epilogue<'a>,
    padded: &'a mut [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl Kernel for ScatterTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: F32x16>(mut self) {
        self.add_windows::<V>();
        let ConvShape { input, padding, .. } = *self.shape;
        let NhwcShape {
            height,
            width,
            channels,
            ..
        } = input;
        assert!(self.out.len() == input.image_numel());
        // Pixels outside of all windows have gradient zero.
        let (rows, columns) = self.windows.covered(self.shape);
        for y in 0..height {
            for x in 0..width {
                for channel in (0..channels).step_by(LANES) {
                    let count = (channels - channel).min(LANES);
                    let at = (y * width + x) * channels + channel;
                    let out = &mut self.out[at..][..count];
                    // SAFETY: covered pixels lie in the padded image; `out` has room for `count`
                    // floats.
                    unsafe {
                        let mut sum = V::splat(0.0);
                        if y < rows && x < columns {
                            let from = (y + padding) * self.windows.row
                                + (x + padding) * channels
                                + channel;
                            sum = V::load_partial(self.padded.as_ptr().add(from), count);
                        }
                        self.epilogue
                            .apply(sum, at, channel, count)
                            .store_partial(out.as_mut_ptr().cast(), count);
                    }
                }
            }
        }
    }
}

impl ScatterTask<'_> {
    /// Adds the window of each output position into the padded image.
    #[inline(always)]
    fn add_windows<V: F32x16>(&mut self) {
        let Windows { row, run, .. } = *self.windows;
        let starts = &self.windows.starts;
        let channels = self.shape.c_out;
        let segments = Segments {
            depth: channels,
            len: channels,
            stride: 0,
        };
        assert!(self.grad_output.len() == starts.len() * channels);
        assert!(self.padded.len() == self.windows.len());
        let across = run.div_ceil(LANES);
        for (block, panel) in self.weights.chunks_exact(channels * LANES).enumerate() {
            let (y, column) = (block / across, block % across * LANES);
            let count = (run - column).min(LANES);
            for_row_blocks!(V, starts.len(), |position, R| {
                // SAFETY: there are R more rows of `grad_output`, and windows lie in the padded
                // image.
                unsafe {
                    let rows = std::array::from_fn::<usize, R, _>(|i| i * channels);
                    let left = self.grad_output.as_ptr().add(position * channels);
                    let sums = [V::splat(0.0); R];
                    let sums = rows_times_panel(sums, left, rows, segments, panel.as_ptr());
                    for i in 0..R {
                        let at = starts[position + i] + y * row + column;
                        let place = self.padded.as_mut_ptr().add(at);
                        (V::load_partial(place, count) + sums[i]).store_partial(place, count);
                    }
                }
            });
        }
    }
}
