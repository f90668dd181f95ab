//! Convolutions of any kernel, stride and padding, as products of the input's windows with the
//! weights: `[B,H,W,C]` slices come in, new vectors go out. The windows are read where they stand,
//! in a copy of the image with zeros around it, where there are any.

mod forward;
mod transposed;
mod weight_gradient;

pub use forward::{Panels, correlate};
pub use transposed::{TransposedPanels, scatter};
pub use weight_gradient::weight_gradient;

use crate::shape::ConvShape;

/// Where the windows lie in an image with zeros around it.
struct Windows {
    /// Rows of the padded image; of the image itself, if no zeros are around it.
    height: usize,
    /// Floats of its rows.
    row: usize,
    /// Where each output's window starts.
    starts: Vec<usize>,
    /// Consecutive floats of a window: a row of the kernel, all channels.
    run: usize,
}

impl Windows {
    fn new(geometry: &ConvShape) -> Self {
        let (output, channels) = (geometry.output(), geometry.input.channels);
        let seen = |outputs: usize, inputs: usize| match geometry.padding {
            0 => inputs,
            _ => (outputs - 1) * geometry.stride + geometry.kernel,
        };
        let row = seen(output.width, geometry.input.width) * channels;
        let start = |position: usize| {
            let (y, x) = (position / output.width, position % output.width);
            (y * row + x * channels) * geometry.stride
        };
        Self {
            height: seen(output.height, geometry.input.height),
            row,
            starts: (0..output.positions()).map(start).collect(),
            run: geometry.kernel * channels,
        }
    }

    /// Where the windows of images one after the other start.
    fn starts_in(&self, images: usize) -> Vec<usize> {
        let places = (0..images).map(|image| image * self.len());
        places
            .flat_map(|place| self.starts.iter().map(move |start| place + start))
            .collect()
    }

    /// Floats of a padded image.
    fn len(&self) -> usize {
        self.height * self.row
    }

    /// Rows and columns of an image that some window sees.
    fn seen(&self, geometry: &ConvShape) -> (usize, usize) {
        let (input, padding) = (geometry.input, geometry.padding);
        (
            input.height.min(self.height - padding),
            input.width.min(self.row / input.channels - padding),
        )
    }

    /// Copies an image into a padded one, which holds zeros around it.
    fn pad(&self, geometry: &ConvShape, picture: &[f32], padded: &mut [f32]) {
        let (input, padding) = (geometry.input, geometry.padding);
        let (rows, columns) = self.seen(geometry);
        let pictures = picture.chunks_exact(input.width * input.channels);
        for (from, to) in pictures
            .zip(padded.chunks_exact_mut(self.row).skip(padding))
            .take(rows)
        {
            let len = columns * input.channels;
            to[padding * input.channels..][..len].copy_from_slice(&from[..len]);
        }
    }
}
