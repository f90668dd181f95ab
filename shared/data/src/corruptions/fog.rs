//! Fog: a random height map added to the image, then scaled so that the largest value stays.
//!
//! The map is made by midpoint displacement on squares and diamonds, wrapped around at the edges (Fournier, Fussell and
//! Carpenter, "Computer rendering of stochastic models", 1982).

use super::{NoiseSource, Severity, byte, floats};
use crate::IMAGE_SIDE;

pub fn apply(image: &[u8], severity: Severity, noise: &mut dyn NoiseSource) -> Vec<u8> {
    let (amount, decay) =
        severity.of([(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)]);
    let heights = heights(decay, noise);
    let largest = floats(image).fold(0.0, f64::max);
    let values = floats(image).enumerate();
    values
        .map(|(i, value)| {
            let foggy = value + amount * heights[i / 3];
            byte(foggy * largest / (largest + amount))
        })
        .collect()
}

/// A map of the image's size with heights from 0 to 1; the displacement shrinks by `decay` from scale to scale.
fn heights(decay: f64, noise: &mut dyn NoiseSource) -> Vec<f64> {
    let mut map = Map(vec![0.0; IMAGE_SIDE * IMAGE_SIDE]);
    let (mut step, mut displacement) = (IMAGE_SIDE, 100.0);
    while step >= 2 {
        let half = step / 2;
        let mut moved = |sum: f64| {
            let uniform = -displacement + 2.0 * displacement * noise.uniform();
            sum / 4.0 + displacement * uniform
        };
        // The middles of squares, from their corners.
        map.fill(step, (half, half), |map, y, x| {
            let side = |x: usize| map.at(y - half, x) + map.at(y + half, x);
            moved(side(x - half) + side(x + half))
        });
        // The middles of horizontal and of vertical edges, from the middles and the corners around.
        for start in [(0, half), (half, 0)] {
            map.fill(step, start, |map, y, x| {
                let vertical = map.at(y + IMAGE_SIDE - half, x) + map.at(y + half, x);
                let horizontal = map.at(y, x + IMAGE_SIDE - half) + map.at(y, x + half);
                moved(vertical + horizontal)
            });
        }
        step = half;
        displacement /= decay;
    }
    let lowest = map.0.iter().copied().fold(f64::INFINITY, f64::min);
    let above = map.0.iter().map(|height| height - lowest);
    let highest = above.clone().fold(0.0, f64::max);
    above.map(|height| height / highest).collect()
}

/// Heights, row-major.
struct Map(Vec<f64>);

impl Map {
    /// The height at a place, wrapped around.
    fn at(&self, y: usize, x: usize) -> f64 {
        self.0[y % IMAGE_SIDE * IMAGE_SIDE + x % IMAGE_SIDE]
    }

    /// Sets every `step`-th place of every `step`-th row from `start` on.
    fn fill(
        &mut self,
        step: usize,
        (top, left): (usize, usize),
        mut height: impl FnMut(&Self, usize, usize) -> f64,
    ) {
        for y in (top..IMAGE_SIDE).step_by(step) {
            for x in (left..IMAGE_SIDE).step_by(step) {
                self.0[y * IMAGE_SIDE + x] = height(self, y, x);
            }
        }
    }
}
