//! Glass blur: a Gaussian blur, pixels replaced by a random one of the neighbors above and to the left, and the blur
//! again.
//!
//! The authors swap two pixels by an assignment that in NumPy copies one over the other; this is what is done here, as it
//! made the published images. The blur has the weights and the order of SciPy's `gaussian_filter`, with four standard
//! deviations to each side.

use super::{NoiseSource, Severity, byte, floats};
use crate::{IMAGE_BYTES, IMAGE_SIDE};

pub fn apply(image: &[u8], severity: Severity, noise: &mut dyn NoiseSource) -> Vec<u8> {
    let (sigma, rounds) = severity.of([(0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2)]);
    let mut pixels = blurred(image, sigma);
    for _ in 0..rounds {
        for y in (2..IMAGE_SIDE).rev() {
            for x in (2..IMAGE_SIDE).rev() {
                // Each by one pixel or not at all.
                let mut step = || usize::from(noise.uniform() < 0.5);
                let (left, up) = (step(), step());
                let [to, from] =
                    [(y, x), (y - up, x - left)].map(|(y, x)| (y * IMAGE_SIDE + x) * 3);
                pixels.copy_within(from..from + 3, to);
            }
        }
    }
    blurred(&pixels, sigma)
}

/// The bytes after a Gaussian blur in f64, columns first; beyond the edge the image goes on as at its edge.
fn blurred(image: &[u8], sigma: f64) -> Vec<u8> {
    let weights = weights(sigma);
    let values: Vec<f64> = floats(image).collect();
    let row = 3 * IMAGE_SIDE;
    let vertical = filtered(
        &values,
        &weights,
        |i| (i / row, i % row),
        |y, rest| y * row + rest,
    );
    let horizontal = filtered(
        &vertical,
        &weights,
        |i| (i % row / 3, i / row * row + i % 3),
        |x, rest| rest + 3 * x,
    );
    horizontal.into_iter().map(byte).collect()
}

/// Correlation along one axis; `split` gives the place on the axis and the rest of an index, `join` their index.
fn filtered(
    values: &[f64],
    weights: &[f64],
    split: impl Fn(usize) -> (usize, usize),
    join: impl Fn(usize, usize) -> usize,
) -> Vec<f64> {
    let reach = weights.len() - 1;
    let filter = |i: usize| {
        let (place, rest) = split(i);
        let value = |place: usize| values[join(place, rest)];
        // From the outermost pair inwards.
        (1..=reach)
            .rev()
            .fold(value(place) * weights[0], |sum, distance| {
                let before = value(place.saturating_sub(distance));
                let after = value((place + distance).min(IMAGE_SIDE - 1));
                sum + (before + after) * weights[distance]
            })
    };
    (0..IMAGE_BYTES).map(filter).collect()
}

/// The weights of the center and of the places at distance 1, 2, ... on either side.
fn weights(sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma + 0.5) as usize;
    let weight = |distance: usize| (-0.5 / (sigma * sigma) * (distance * distance) as f64).exp();
    let weights: Vec<f64> = (0..=reach).map(weight).collect();
    // From one end to the other, as all are summed.
    let sum: f64 = (-(reach as isize)..=reach as isize)
        .map(|place| weights[place.unsigned_abs()])
        .sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}
