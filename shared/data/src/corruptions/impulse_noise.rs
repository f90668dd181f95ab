//! Impulse noise (salt and pepper): a share of the values, each channel by itself, becomes 1 or 0, equally often.

use super::{NoiseSource, Severity};

pub fn apply(image: &[u8], severity: Severity, noise: &mut dyn NoiseSource) -> Vec<u8> {
    let share = severity.of([0.01, 0.02, 0.03, 0.05, 0.07]);
    let noisy = image.iter().map(|&value| {
        let (hit, salt) = (noise.uniform() < share, noise.uniform() < 0.5);
        match (hit, salt) {
            (false, _) => value,
            (true, true) => 255,
            (true, false) => 0,
        }
    });
    noisy.collect()
}
