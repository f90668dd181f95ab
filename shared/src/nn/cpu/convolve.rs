//! Convolution on the CPU in its three directions: forward, gradient of the input, gradient of
//! the weight. Contiguous NCHW slices come in, a new vector goes out.
//!
//! Forward packs a panel of 32 window positions and multiplies it with packed weights, tile by
//! tile. The input's gradient is the same walk over the output's gradient, dilated by the stride,
//! with the kernel turned by 180 degrees and its channels exchanged. The weight's gradient takes
//! dot products along the positions; each task owns some taps and goes through all pictures in
//! order. So no result depends on the number of threads, nor, forward and for inputs, on what
//! else is in the batch.

use rayon::prelude::*;

use super::{
    dot,
    tile::{self, COLUMNS, ROWS, Tile},
    window::Window,
};

/// Sizes of a two-dimensional convolution with a square kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pictures.
    pub images: usize,
    /// Input channels.
    pub c_in: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Output channels.
    pub c_out: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Zeros on each side; less than `kernel`.
    pub padding: usize,
}

impl Geometry {
    /// Output rows.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Output columns.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    fn window(&self) -> Window {
        Window {
            channels: self.c_in,
            height: self.height,
            width: self.width,
            dilation: 1,
            padding: self.padding,
            kernel: self.kernel,
            stride: self.stride,
            out_height: self.out_height(),
            out_width: self.out_width(),
        }
    }
}

/// Output `[images, c_out, out_height, out_width]` of `input` and `weight`
/// `[c_out, c_in, kernel, kernel]`.
pub fn forward(geometry: &Geometry, input: &[f32], weight: &[f32]) -> Vec<f32> {
    let window = geometry.window();
    let taps = window.taps();
    let left = pack_left(geometry.c_out, taps, |row, tap| weight[row * taps + tap]);
    correlate(&window, geometry.c_out, &left, input)
}

/// Gradient of the input, `[images, c_in, height, width]`, from that of the output.
pub fn input_gradient(geometry: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let window = Window {
        channels: geometry.c_out,
        height: geometry.out_height(),
        width: geometry.out_width(),
        dilation: geometry.stride,
        padding: geometry.kernel - 1 - geometry.padding,
        kernel: geometry.kernel,
        stride: 1,
        out_height: geometry.height,
        out_width: geometry.width,
    };
    let area = geometry.kernel * geometry.kernel;
    let left = pack_left(geometry.c_in, window.taps(), |row, tap| {
        let (channel, place) = (tap / area, tap % area);
        weight[(channel * geometry.c_in + row) * area + area - 1 - place]
    });
    correlate(&window, geometry.c_in, &left, gradient)
}

/// Gradient of the weight, `[c_out, c_in, kernel, kernel]`.
pub fn weight_gradient(geometry: &Geometry, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    /// Taps a task owns.
    const TAPS: usize = 4 * dot::RIGHT;
    /// Positions between two meetings of the 16 partial sums, at least.
    const POSITIONS: usize = 1024;

    let window = geometry.window();
    let (positions, taps) = (window.positions(), window.taps());
    let group = POSITIONS.div_ceil(positions).min(geometry.images);
    let length = (group * positions).next_multiple_of(dot::LANES);
    let rows = geometry.c_out.next_multiple_of(dot::LEFT);
    let left = gradient_rows(geometry, gradient, positions, group, rows, length);

    let area = geometry.kernel * geometry.kernel;
    let plane = window.height * window.width;
    let blocks: Vec<Vec<f32>> = (0..taps.div_ceil(TAPS))
        .into_par_iter()
        .map(|block| {
            let owned = block * TAPS..taps.min((block + 1) * TAPS);
            // Only the channels under the owned taps are looked at.
            let channels = owned.start / area..owned.end.div_ceil(area);
            let window = Window {
                channels: channels.len(),
                ..window
            };
            let image_len = window.channels * window.plane_len();
            let mut padded = vec![0.0; group * image_len];
            let mut right = vec![0.0; TAPS * length];
            let mut runs = Vec::new();
            let mut sums = vec![[[0.0; dot::RIGHT]; dot::LEFT]; rows * TAPS / 24];
            let inputs = input.chunks(group * geometry.c_in * plane);
            for (pictures, left) in inputs.zip(left.chunks_exact(rows * length)) {
                let images = pictures.chunks_exact(geometry.c_in * plane);
                let count = images.len();
                for (image, out) in images.zip(padded.chunks_exact_mut(image_len)) {
                    window.pad(&image[channels.start * plane..channels.end * plane], out);
                }
                window.runs(0, count * positions, &mut runs);
                for (tap, row) in owned.clone().zip(right.chunks_exact_mut(length)) {
                    window.gather(&padded, tap - channels.start * area, &runs, row);
                    row[count * positions..].fill(0.0);
                }
                let tiles = left.chunks_exact(dot::LEFT * length).flat_map(|left| {
                    right
                        .chunks_exact(dot::RIGHT * length)
                        .map(move |right| (left, right))
                });
                for ((left, right), sums) in tiles.zip(&mut sums) {
                    dot::multiply_add(left, right, length, sums);
                }
            }
            (0..geometry.c_out)
                .flat_map(|row| owned.clone().map(move |tap| (row, tap - block * TAPS)))
                .map(|(row, tap)| {
                    let tile = row / dot::LEFT * (TAPS / dot::RIGHT) + tap / dot::RIGHT;
                    sums[tile][row % dot::LEFT][tap % dot::RIGHT]
                })
                .collect()
        })
        .collect();
    (0..geometry.c_out)
        .flat_map(|row| {
            blocks.iter().flat_map(move |block| {
                let owned = block.len() / geometry.c_out;
                block[row * owned..][..owned].iter().copied()
            })
        })
        .collect()
}

/// The output's gradient as rows for dot products: for each group of pictures, each channel's
/// positions one picture after the other, padded with zeros to `rows` x `length`.
fn gradient_rows(
    geometry: &Geometry,
    gradient: &[f32],
    positions: usize,
    group: usize,
    rows: usize,
    length: usize,
) -> Vec<f32> {
    let mut left = vec![0.0; geometry.images.div_ceil(group) * rows * length];
    left.par_chunks_mut(rows * length)
        .zip(gradient.par_chunks(group * geometry.c_out * positions))
        .for_each(|(left, gradient)| {
            let images = gradient.chunks_exact(geometry.c_out * positions);
            for (image, planes) in images.enumerate() {
                for (row, plane) in left
                    .chunks_exact_mut(length)
                    .zip(planes.chunks_exact(positions))
                {
                    row[image * positions..][..positions].copy_from_slice(plane);
                }
            }
        });
    left
}

/// Weights as the tiles read them: `[row / ROWS][tap][ROWS]`, rows beyond the last are zero.
fn pack_left(rows: usize, taps: usize, weight: impl Fn(usize, usize) -> f32 + Sync) -> Vec<f32> {
    let mut left = vec![0.0; rows.next_multiple_of(ROWS) * taps];
    left.par_chunks_exact_mut(ROWS * taps)
        .enumerate()
        .for_each(|(block, left)| {
            for (tap, out) in left.chunks_exact_mut(ROWS).enumerate() {
                for (row, out) in (block * ROWS..rows).zip(out) {
                    *out = weight(row, tap);
                }
            }
        });
    left
}

/// Slides `window` over every picture of `source`: `[images, rows, positions]`.
fn correlate(window: &Window, rows: usize, left: &[f32], source: &[f32]) -> Vec<f32> {
    let (positions, taps) = (window.positions(), window.taps());
    let image_len = window.channels * window.plane_len();
    let images = source.len() / window.source_len();
    // Small pictures share a panel; each column is a sum of its own.
    let group = (COLUMNS / positions).max(1);
    let scratch = || {
        (
            vec![0.0; group * image_len],
            vec![0.0; taps * COLUMNS],
            Vec::new(),
        )
    };
    let mut output = vec![0.0; images * rows * positions];
    output
        .par_chunks_mut(group * rows * positions)
        .zip(source.par_chunks(group * window.source_len()))
        .for_each_init(scratch, |(padded, panel, runs), (output, source)| {
            let pictures = source.chunks_exact(window.source_len());
            let total = pictures.len() * positions;
            for (picture, padded) in pictures.zip(padded.chunks_exact_mut(image_len)) {
                window.pad(picture, padded);
            }
            for start in (0..total).step_by(COLUMNS) {
                let end = total.min(start + COLUMNS);
                window.runs(start, end, runs);
                for (tap, row) in panel.chunks_exact_mut(COLUMNS).enumerate() {
                    window.gather(padded, tap, runs, row);
                }
                for (block, left) in left.chunks_exact(ROWS * taps).enumerate() {
                    let mut tile: Tile = [0.0; ROWS * COLUMNS];
                    tile::multiply_add(left, panel, &mut tile);
                    scatter(&tile, block * ROWS, rows, positions, start..end, output);
                }
            }
        });
    output
}

/// Writes a tile's rows to their channels, its columns to positions `range` of the pictures.
fn scatter(
    tile: &Tile,
    first_row: usize,
    rows: usize,
    positions: usize,
    range: std::ops::Range<usize>,
    output: &mut [f32],
) {
    let mut at = range.start;
    while at < range.end {
        let (image, position) = (at / positions, at % positions);
        let length = (positions - position).min(range.end - at);
        for (row, values) in (first_row..rows).zip(tile.chunks_exact(COLUMNS)) {
            output[(image * rows + row) * positions + position..][..length]
                .copy_from_slice(&values[at - range.start..][..length]);
        }
        at += length;
    }
}
