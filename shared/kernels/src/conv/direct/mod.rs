//! Direct convolution of any kernel size, stride and padding: implicit im2col. Windows are read in
//! place, in a zero-padded copy of the image (or the image itself without padding), and multiplied
//! with packed weights.

mod forward;
mod transposed;
mod weight_gradient;

pub use forward::{PackedWeights, conv2d};
pub use transposed::{TransposedWeights, input_gradient};
pub use weight_gradient::weight_gradient;

use crate::shape::ConvShape;

/// Where the windows (receptive fields) lie in a padded image.
struct Windows {
    /// Rows of the padded image that windows cover; without padding, of the image itself.
    height: usize,
    /// Floats of a row.
    row: usize,
    /// Start of the window of each output position.
    starts: Vec<usize>,
    /// Consecutive floats of a window: one kernel row, all channels.
    run: usize,
}

impl Windows {
    fn new(shape: &ConvShape) -> Self {
        let (output, channels) = (shape.output(), shape.input.channels);
        let covered = |outputs: usize, inputs: usize| match shape.padding {
            0 => inputs,
            _ => (outputs - 1) * shape.stride + shape.kernel,
        };
        let row = covered(output.width, shape.input.width) * channels;
        let start = |position: usize| {
            let (y, x) = (position / output.width, position % output.width);
            (y * row + x * channels) * shape.stride
        };
        Self {
            height: covered(output.height, shape.input.height),
            row,
            starts: (0..output.positions()).map(start).collect(),
            run: shape.kernel * channels,
        }
    }

    /// Window starts in consecutive images.
    fn starts_in(&self, images: usize) -> Vec<usize> {
        let offsets = (0..images).map(|image| image * self.len());
        offsets
            .flat_map(|offset| self.starts.iter().map(move |start| offset + start))
            .collect()
    }

    /// Floats of a padded image.
    fn len(&self) -> usize {
        self.height * self.row
    }

    /// Rows and columns of an image that some window covers.
    fn covered(&self, shape: &ConvShape) -> (usize, usize) {
        let (input, padding) = (shape.input, shape.padding);
        (
            input.height.min(self.height - padding),
            input.width.min(self.row / input.channels - padding),
        )
    }

    /// Copies an image into the interior of `padded`, whose border holds zeros.
    fn pad(&self, shape: &ConvShape, image: &[f32], padded: &mut [f32]) {
        let (input, padding) = (shape.input, shape.padding);
        let (rows, columns) = self.covered(shape);
        let image_rows = image.chunks_exact(input.width * input.channels);
        for (from, to) in image_rows
            .zip(padded.chunks_exact_mut(self.row).skip(padding))
            .take(rows)
        {
            let len = columns * input.channels;
            to[padding * input.channels..][..len].copy_from_slice(&from[..len]);
        }
    }
}
