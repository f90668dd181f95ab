//! Square in L2: bumps at the start, one in each tile of a grid, then moves of the perturbation's energy from one
//! window into another.

use data::{IMAGE_BYTES, IMAGE_SIDE};

use super::Random;
use crate::{ThreatModel, threat::length_l2};

const CHANNEL: usize = IMAGE_SIDE * IMAGE_SIDE;
const CHANNELS: usize = IMAGE_BYTES / CHANNEL;
/// Tiles of the start in each direction.
const TILES: usize = 5;
/// Keeps a division by a length of 0 finite.
const TINY: f32 = 1e-12;

/// The start: in each tile a bump, in each channel up or down, scaled to the radius.
pub fn start(threat: &ThreatModel, clean: &[f32], random: &mut impl Random) -> Vec<f32> {
    let side = IMAGE_SIDE / TILES;
    let margin = (IMAGE_SIDE - side * TILES) / 2;
    let bump = Bump::new(side);
    let mut change = vec![0.0; IMAGE_BYTES];
    for tile in 0..TILES * TILES {
        let window = Window {
            top: margin + tile / TILES * side,
            left: margin + tile % TILES * side,
            side,
        };
        let transposed = random.transposed();
        for channel in 0..CHANNELS {
            let sign = random.sign();
            for (at, i) in window.pixels(channel).enumerate() {
                change[i] += sign * bump.at(at, transposed);
            }
        }
    }
    let mut point = vec![0.0; IMAGE_BYTES];
    at_radius(threat, clean, &change, &mut point);
    point
}

/// A proposal: the perturbation's energy in a second window, and what the radius leaves, goes into the first, in the
/// shape of a bump added to what is there.
pub fn propose(
    threat: &ThreatModel,
    clean: &[f32],
    best: &[f32],
    bump: &Bump,
    random: &mut impl Random,
    proposal: &mut [f32],
) {
    let mut change: Vec<f32> = best.iter().zip(clean).map(|(b, c)| b - c).collect();
    let into = Window::random(bump.side, random);
    let from = Window::random(bump.side, random);
    let transposed = random.transposed();
    let length = length_l2(&change);
    let unused = (threat.eps * threat.eps - length * length).max(0.0) / CHANNELS as f32;
    for channel in 0..CHANNELS {
        let sign = random.sign();
        let inside: Vec<f32> = into.pixels(channel).map(|i| change[i]).collect();
        let length_inside = length_l2(&inside);
        // The energy of both windows, without counting what they share twice.
        let outside: Vec<f32> = (from.pixels(channel).filter(|&i| !into.contains(i)))
            .map(|i| change[i])
            .collect();
        let energy = length_inside.powi(2) + length_l2(&outside).powi(2);
        let shape: Vec<f32> = (inside.iter().enumerate())
            .map(|(at, old)| sign * bump.at(at, transposed) + old / (TINY + length_inside))
            .collect();
        let scale = (unused + energy).sqrt() / (TINY + length_l2(&shape));
        from.pixels(channel).for_each(|i| change[i] = 0.0);
        for (i, value) in into.pixels(channel).zip(shape) {
            change[i] = value * scale;
        }
    }
    at_radius(threat, clean, &change, proposal);
}

/// The point at the radius in the direction of a change, clipped to `[0,1]`.
fn at_radius(threat: &ThreatModel, clean: &[f32], change: &[f32], point: &mut [f32]) {
    let length = length_l2(change) + TINY;
    for ((x, &c), &change) in point.iter_mut().zip(clean).zip(change) {
        *x = (c + change / length * threat.eps).clamp(0.0, 1.0);
    }
}

/// A square of pixels.
struct Window {
    top: usize,
    left: usize,
    side: usize,
}

impl Window {
    fn random(side: usize, random: &mut impl Random) -> Self {
        let free = IMAGE_SIDE - side;
        let (top, left) = (random.origin(free), random.origin(free));
        Self { top, left, side }
    }

    /// Its values in one channel, row by row.
    fn pixels(&self, channel: usize) -> impl Iterator<Item = usize> {
        let first = channel * CHANNEL + self.top * IMAGE_SIDE + self.left;
        let side = self.side;
        (0..side * side).map(move |at| first + at / side * IMAGE_SIDE + at % side)
    }

    fn contains(&self, pixel: usize) -> bool {
        let (row, column) = (pixel % CHANNEL / IMAGE_SIDE, pixel % IMAGE_SIDE);
        (self.top..self.top + self.side).contains(&row)
            && (self.left..self.left + self.side).contains(&column)
    }
}

/// The pattern that a window gets: two pyramids side by side, one up and one down, of length 1 together.
pub struct Bump {
    side: usize,
    values: Vec<f32>,
}

impl Bump {
    /// The pattern of a window of this side.
    pub fn new(side: usize) -> Self {
        let (upper, lower) = (side / 2, side - side / 2);
        let mut values = pyramid(upper, side);
        values.extend(pyramid(lower, side).iter().map(|value| -value));
        let length = (values.iter().map(|value| value * value).sum::<f64>()).sqrt();
        Self {
            side,
            values: values.iter().map(|value| (value / length) as f32).collect(),
        }
    }

    /// Its value at this place of the window.
    fn at(&self, at: usize, transposed: bool) -> f32 {
        if transposed {
            self.values[at % self.side * self.side + at / self.side]
        } else {
            self.values[at]
        }
    }
}

/// Rectangles that grow around the center, the k-th of height `1 / k^2`, on each other, of length 1 together.
fn pyramid(rows: usize, columns: usize) -> Vec<f64> {
    let (center_row, center_column) = (rows / 2, columns / 2);
    let layers = center_row.max(center_column) + 1;
    let mut values = vec![0.0; rows * columns];
    for layer in 0..layers {
        for (i, value) in values.iter_mut().enumerate() {
            let (row, column) = (i / columns, i % columns);
            if row.abs_diff(center_row) <= layer && column.abs_diff(center_column) <= layer {
                *value += 1.0 / ((layer + 1) * (layer + 1)) as f64;
            }
        }
    }
    let length = (values.iter().map(|value| value * value).sum::<f64>()).sqrt();
    values.iter().map(|value| value / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bump_of_side_3_by_hand() {
        // One row of a pyramid: 1/4, 5/4, 1/4; two rows, with the center in the second: 1/4 around 5/4, 1/4 above.
        let upper = [0.25, 1.25, 0.25].map(|v: f64| v / (1.6875f64).sqrt());
        let lower = [0.25, 0.25, 0.25, 0.25, 1.25, 0.25].map(|v: f64| v / (1.875f64).sqrt());
        let expected = upper.into_iter().chain(lower.map(|v| -v));
        let bump = Bump::new(3);
        for (i, expected) in expected.enumerate() {
            let (ours, expected) = (f64::from(bump.values[i]), expected / 2f64.sqrt());
            assert!((ours - expected).abs() < 1e-7, "{i}: {ours}, {expected}");
        }
        assert_eq!(bump.at(1, true), bump.at(3, false));
    }
}
