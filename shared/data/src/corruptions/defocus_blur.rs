//! Defocus blur: correlation with a disk whose edge is smoothed by a Gaussian.
//!
//! OpenCV correlates by a Fourier transform in f64; here the sum is direct. The last bits of the two differ, the bytes
//! of 500 corrupted CIFAR-10 images do not.

use super::{NoiseSource, Severity, byte};
use crate::{IMAGE_BYTES, IMAGE_SIDE};

/// How far the largest kernel reaches from its center: radius 1.5, and one pixel more for the smoothing.
const REACH: usize = 2;

/// Side of the kernel.
const SIDE: usize = 2 * REACH + 1;

pub fn apply(image: &[u8], severity: Severity, _: &mut dyn NoiseSource) -> Vec<u8> {
    let (radius, sigma) = severity.of([(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)]);
    let kernel = kernel(radius, sigma);
    let mut out = Vec::with_capacity(IMAGE_BYTES);
    for y in 0..IMAGE_SIDE {
        for x in 0..IMAGE_SIDE {
            out.extend((0..3).map(|channel| {
                let mut sum = 0.0;
                for (row, weights) in kernel.iter().enumerate() {
                    for (column, &weight) in weights.iter().enumerate() {
                        let pixel = reflected(y + row) * IMAGE_SIDE + reflected(x + column);
                        let value = f64::from(image[pixel * 3 + channel]) / 255.0;
                        sum += f64::from(weight) * value;
                    }
                }
                byte(sum)
            }));
        }
    }
    out
}

/// The place `shifted - REACH` in a line of the image, mirrored at the centers of the outermost pixels.
fn reflected(shifted: usize) -> usize {
    let last = IMAGE_SIDE - 1;
    let place = shifted.abs_diff(REACH);
    last - last.abs_diff(place)
}

/// The smoothed disk. In f32, as OpenCV has it: the sum is 1 only up to rounding, and in even areas that decides
/// which byte is cut off.
fn kernel(radius: f64, sigma: f64) -> [[f32; SIDE]; SIDE] {
    let distance = |i: usize| i.abs_diff(REACH) as f64;
    let inside = |y: usize, x: usize| distance(y).powi(2) + distance(x).powi(2) <= radius.powi(2);
    let cells = (0..SIDE * SIDE).filter(|i| inside(i / SIDE, i % SIDE));
    let level = 1.0 / cells.count() as f32;
    let disk = |y: usize, x: usize| if inside(y, x) { level } else { 0.0 };

    let [center, side] = gaussian(sigma);
    let smooth = |before: f32, here: f32, after: f32| here * center + (before + after) * side;
    let mut rows = [[0.0; SIDE]; SIDE];
    for (y, row) in rows.iter_mut().enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            let at = |x: Option<usize>| x.filter(|&x| x < SIDE).map_or(0.0, |x| disk(y, x));
            *value = smooth(at(x.checked_sub(1)), disk(y, x), at(Some(x + 1)));
        }
    }
    let mut kernel = [[0.0; SIDE]; SIDE];
    for (y, row) in kernel.iter_mut().enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            let at = |y: Option<usize>| y.filter(|&y| y < SIDE).map_or(0.0, |y| rows[y][x]);
            *value = smooth(at(y.checked_sub(1)), rows[y][x], at(Some(y + 1)));
        }
    }
    kernel
}

/// Center and side of a Gaussian of three values whose sum is 1.
fn gaussian(sigma: f64) -> [f32; 2] {
    let side = (-0.5 / (sigma * sigma)).exp();
    let scale = 1.0 / (1.0 + 2.0 * side);
    [scale as f32, (side * scale) as f32]
}
