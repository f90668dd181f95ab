//! Pixelation: the image resized to fewer pixels and back, by averages over boxes.
//!
//! The arithmetic is that of Pillow's 8-bit resampling: columns first, then rows, weights in fixed point with 22 bits
//! after the point, and a rounded byte after each of the two.

use super::{NoiseSource, Severity};
use crate::IMAGE_SIDE;

/// Bits of a weight after the point.
const BITS: u32 = 22;

pub fn apply(image: &[u8], severity: Severity, _: &mut dyn NoiseSource) -> Vec<u8> {
    let part = severity.of([0.95, 0.9, 0.85, 0.75, 0.65]);
    let small = (IMAGE_SIDE as f64 * part) as usize;
    resize(&resize(image, IMAGE_SIDE, small), small, IMAGE_SIDE)
}

/// A square image of interleaved bytes, its side changed.
fn resize(image: &[u8], from: usize, to: usize) -> Vec<u8> {
    let boxes = boxes(from, to);
    let columns: Vec<u8> = (0..from)
        .flat_map(|row| boxes.iter().map(move |weights| (row, weights)))
        .flat_map(|(row, weights)| {
            (0..3).map(move |c| weights.average(|x| image[(row * from + x) * 3 + c]))
        })
        .collect();
    (boxes.iter())
        .flat_map(|weights| (0..to * 3).map(move |place| (weights, place)))
        .map(|(weights, place)| weights.average(|y| columns[y * to * 3 + place]))
        .collect()
}

/// The pixels that one pixel of the result is the average of.
struct Window {
    first: usize,
    /// In units of 2^-[`BITS`].
    weights: Vec<i64>,
}

impl Window {
    fn average(&self, value: impl Fn(usize) -> u8) -> u8 {
        let half = 1 << (BITS - 1);
        let pixels = self.weights.iter().zip(self.first..);
        let sum: i64 = pixels.map(|(weight, x)| weight * i64::from(value(x))).sum();
        ((sum + half) >> BITS).clamp(0, 255) as u8
    }
}

/// The box of each pixel of a line of `to` that is made of `from`.
fn boxes(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Of an enlarged image, a box has the width of a pixel.
    let width = scale.max(1.0);
    let support = 0.5 * width;
    let of = |x: usize| {
        let center = (x as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let inside = |x: usize| {
            let distance = (x as f64 - center + 0.5) * (1.0 / width);
            f64::from(u8::from(distance > -0.5 && distance <= 0.5))
        };
        let inside: Vec<f64> = (first..end).map(inside).collect();
        let sum: f64 = inside.iter().sum();
        let fixed = |weight: &f64| (0.5 + weight / sum * f64::from(1 << BITS)) as i64;
        Window {
            first,
            weights: inside.iter().map(fixed).collect(),
        }
    };
    (0..to).map(of).collect()
}
