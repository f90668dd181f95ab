//! Gaussian noise: independent normal numbers added to every value.

use super::{NoiseSource, Severity, byte, floats};

pub fn apply(image: &[u8], severity: Severity, noise: &mut dyn NoiseSource) -> Vec<u8> {
    let std = severity.of([0.04, 0.06, 0.08, 0.09, 0.10]);
    let noisy = floats(image).map(|value| byte(value + std * noise.normal()));
    noisy.collect()
}
