//! Convolutions of any kernel, stride and padding, as products of the input's windows with the
//! weights: `[B,H,W,C]` slices come in, new vectors go out. The windows are read where they stand,
//! in a copy of the picture with zeros around it.

mod forward;
mod gradient;
mod transposed;

pub use forward::{Panels, correlate};
pub use gradient::weight_gradient;
pub use transposed::{TransposedPanels, scatter};

use super::geometry::Geometry;

/// Where the windows lie in a picture with zeros around it.
struct Windows {
    /// Rows of the padded picture.
    height: usize,
    /// Floats of its rows.
    row: usize,
    /// Where each output's window starts.
    starts: Vec<usize>,
    /// Consecutive floats of a window: a row of the kernel, all channels.
    run: usize,
}

impl Windows {
    fn new(geometry: &Geometry) -> Self {
        let (output, channels) = (geometry.output(), geometry.input.channels);
        let seen = |outputs: usize| (outputs - 1) * geometry.stride + geometry.kernel;
        let row = seen(output.width) * channels;
        let start = |position: usize| {
            let (y, x) = (position / output.width, position % output.width);
            (y * row + x * channels) * geometry.stride
        };
        Self {
            height: seen(output.height),
            row,
            starts: (0..output.positions()).map(start).collect(),
            run: geometry.kernel * channels,
        }
    }

    /// Floats of a padded picture.
    fn len(&self) -> usize {
        self.height * self.row
    }

    /// Calls `copy(offset in the picture, offset in the padded picture, length)` for every run of
    /// pixels that is in both.
    fn runs(&self, geometry: &Geometry, mut copy: impl FnMut(usize, usize, usize)) {
        let (input, padding) = (geometry.input, geometry.padding);
        let columns = input.width.min(self.row / input.channels - padding);
        for y in 0..input.height.min(self.height - padding) {
            copy(
                y * input.width * input.channels,
                (y + padding) * self.row + padding * input.channels,
                columns * input.channels,
            );
        }
    }

    /// Copies a picture into a padded one, which holds zeros around it.
    fn pad(&self, geometry: &Geometry, picture: &[f32], padded: &mut [f32]) {
        self.runs(geometry, |from, to, len| {
            padded[to..][..len].copy_from_slice(&picture[from..][..len]);
        });
    }
}
