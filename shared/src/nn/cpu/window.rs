//! How a convolution looks at a picture: planes come in, padded and dilated planes and panels of
//! taps go out (the packed form that the inner loops read).

/// A sliding window over the planes of one picture.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Planes of the source.
    pub channels: usize,
    /// Rows of a source plane.
    pub height: usize,
    /// Columns of a source plane.
    pub width: usize,
    /// Source pixels lie this far apart, with zeros between (1: none).
    pub dilation: usize,
    /// Zeros before the first row and column.
    pub padding: usize,
    /// Rows and columns of the window.
    pub kernel: usize,
    /// The window moves by this much.
    pub stride: usize,
    /// Rows of window positions.
    pub out_height: usize,
    /// Columns of window positions.
    pub out_width: usize,
}

/// Consecutive positions in one row: where they stand in a panel and in the padded planes.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    column: usize,
    length: usize,
    source: usize,
}

impl Window {
    /// Window positions of one picture.
    pub fn positions(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Values under the window.
    pub fn taps(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Floats of one source picture.
    pub fn source_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn padded_height(&self) -> usize {
        (self.out_height - 1) * self.stride + self.kernel
    }

    fn padded_width(&self) -> usize {
        (self.out_width - 1) * self.stride + self.kernel
    }

    /// Floats of one padded plane.
    pub fn plane_len(&self) -> usize {
        self.padded_height() * self.padded_width()
    }

    /// Copies source planes into padded ones, one [`Window::plane_len`] each. The zeros between
    /// and around the pixels are left alone: `padded` must hold zeros there.
    pub fn pad(&self, planes: &[f32], padded: &mut [f32]) {
        let (rows, columns) = (self.padded_height(), self.padded_width());
        // What lies beyond the last window position is never looked at.
        let seen = |size: usize, padded: usize| {
            size.min((padded.saturating_sub(self.padding)).div_ceil(self.dilation))
        };
        let (height, width) = (seen(self.height, rows), seen(self.width, columns));
        let source = planes.chunks_exact(self.height * self.width);
        for (plane, out) in source.zip(padded.chunks_exact_mut(rows * columns)) {
            for y in 0..height {
                let from = &plane[y * self.width..][..width];
                let to = &mut out[(y * self.dilation + self.padding) * columns + self.padding..];
                if self.dilation == 1 {
                    to[..width].copy_from_slice(from);
                } else {
                    for (to, from) in to.iter_mut().step_by(self.dilation).zip(from) {
                        *to = *from;
                    }
                }
            }
        }
    }

    /// The runs of positions `start..end`, counted through consecutive pictures whose padded
    /// planes lie one picture after the other.
    pub fn runs(&self, start: usize, end: usize, runs: &mut Vec<Run>) {
        runs.clear();
        let mut at = start;
        while at < end {
            let (image, position) = (at / self.positions(), at % self.positions());
            let (y, x) = (position / self.out_width, position % self.out_width);
            let length = (self.out_width - x).min(end - at);
            let corner = y * self.stride * self.padded_width() + x * self.stride;
            runs.push(Run {
                column: at - start,
                length,
                source: image * self.channels * self.plane_len() + corner,
            });
            at += length;
        }
    }

    /// Where tap `tap` lies relative to the window's corner, in padded planes.
    fn offset(&self, tap: usize) -> usize {
        let area = self.kernel * self.kernel;
        let (channel, y, x) = (tap / area, tap % area / self.kernel, tap % self.kernel);
        channel * self.plane_len() + y * self.padded_width() + x
    }

    /// Writes the values under tap `tap` at all positions of `runs` into a row of a panel.
    pub fn gather(&self, padded: &[f32], tap: usize, runs: &[Run], row: &mut [f32]) {
        let offset = self.offset(tap);
        for run in runs {
            let from = &padded[run.source + offset..];
            let to = &mut row[run.column..][..run.length];
            if self.stride == 1 {
                copy(from, to);
            } else {
                for (to, from) in to.iter_mut().zip(from.iter().step_by(self.stride)) {
                    *to = *from;
                }
            }
        }
    }
}

/// Copies `to.len()` floats; the usual lengths become a few vector moves instead of a call.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    match to.len() {
        32 => to.copy_from_slice(&from[..32]),
        16 => to.copy_from_slice(&from[..16]),
        8 => to.copy_from_slice(&from[..8]),
        4 => to.copy_from_slice(&from[..4]),
        n => to.copy_from_slice(&from[..n]),
    }
}
