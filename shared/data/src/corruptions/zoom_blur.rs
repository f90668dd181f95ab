//! Zoom blur: the mean of an image and of its enlargements by 1.00, 1.01, ... about the center, linearly interpolated.
//!
//! Sums are in f32, interpolation in f64 with positions and order as SciPy's `zoom` has them.

use super::{NoiseSource, Severity};
use crate::{IMAGE_BYTES, IMAGE_SIDE};

/// Distance of two zoom factors.
const STEP: f64 = 0.01;

pub fn apply(image: &[u8], severity: Severity, _: &mut dyn NoiseSource) -> Vec<u8> {
    let end = severity.of([1.06, 1.11, 1.16, 1.21, 1.26]);
    let image: Vec<f32> = (image.iter())
        .map(|&byte| (f64::from(byte) / 255.0) as f32)
        .collect();
    let mut sum = vec![0f32; IMAGE_BYTES];
    let factors = factors(end);
    for &factor in &factors {
        for (sum, value) in sum.iter_mut().zip(zoomed(&image, factor)) {
            *sum += value;
        }
    }
    let count = (factors.len() + 1) as f32;
    let blurred = image.iter().zip(&sum).map(|(value, sum)| {
        let mean = (value + sum) / count;
        (mean.clamp(0.0, 1.0) * 255.0) as u8
    });
    blurred.collect()
}

/// The zoom factors from 1 on, below `end` but for rounding: as many and as exact as NumPy's `arange` has them.
fn factors(end: f64) -> Vec<f64> {
    let count = ((end - 1.0) / STEP).ceil() as usize;
    let step = (1.0 + STEP) - 1.0;
    (0..count).map(|i| 1.0 + i as f64 * step).collect()
}

/// The middle of the enlarged image, `32x32x3`.
fn zoomed(image: &[f32], factor: f64) -> Vec<f32> {
    // Only the middle is enlarged: it fills the image or a little more.
    let middle = (IMAGE_SIDE as f64 / factor).ceil() as usize;
    let corner = (IMAGE_SIDE - middle) / 2;
    let enlarged = (middle as f64 * factor).round_ties_even() as usize;
    let skipped = (enlarged - IMAGE_SIDE) / 2;
    let ratio = (middle - 1) as f64 / (enlarged - 1) as f64;
    let places: Vec<Option<Place>> = (skipped..skipped + IMAGE_SIDE)
        .map(|x| Place::at(x as f64 * ratio, middle))
        .collect();
    let mut out = Vec::with_capacity(IMAGE_BYTES);
    for row in &places {
        for column in &places {
            let (Some(row), Some(column)) = (row, column) else {
                out.extend([0.0; 3]);
                continue;
            };
            out.extend((0..3).map(|channel| {
                let mut sum = 0.0;
                for (y, row_weight) in row.neighbors() {
                    for (x, column_weight) in column.neighbors() {
                        let pixel = (corner + y) * IMAGE_SIDE + corner + x;
                        sum += f64::from(image[pixel * 3 + channel]) * row_weight * column_weight;
                    }
                }
                sum as f32
            }));
        }
    }
    out
}

/// A position between two pixels of a line.
struct Place {
    pixel: usize,
    next: usize,
    weight: f64,
}

impl Place {
    /// The position in a line of `length` pixels; none beyond its last, where rounding may lead.
    fn at(position: f64, length: usize) -> Option<Self> {
        let last = length - 1;
        let pixel = position.floor();
        (position <= last as f64).then(|| Self {
            pixel: pixel as usize,
            next: (pixel as usize + 1).min(last),
            weight: 1.0 - (position - pixel),
        })
    }

    fn neighbors(&self) -> [(usize, f64); 2] {
        [(self.pixel, self.weight), (self.next, 1.0 - self.weight)]
    }
}
