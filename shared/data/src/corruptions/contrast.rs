//! Contrast: each channel's distance to its mean over the image, scaled down.

use super::{NoiseSource, Severity, byte, floats};
use crate::IMAGE_SIDE;

pub fn apply(image: &[u8], severity: Severity, _: &mut dyn NoiseSource) -> Vec<u8> {
    let factor = severity.of([0.75, 0.5, 0.4, 0.3, 0.15]);
    let mut means = [0.0; 3];
    for (value, channel) in floats(image).zip((0..3).cycle()) {
        means[channel] += value;
    }
    let means = means.map(|sum| sum / (IMAGE_SIDE * IMAGE_SIDE) as f64);
    let values = floats(image).zip(means.into_iter().cycle());
    values
        .map(|(value, mean)| byte((value - mean) * factor + mean))
        .collect()
}
