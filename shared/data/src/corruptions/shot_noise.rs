//! Shot noise: the counts of a sensor that expects `photons` events for a value of 1, which are Poisson numbers.

use super::{NoiseSource, Severity, byte, floats};

pub fn apply(image: &[u8], severity: Severity, noise: &mut dyn NoiseSource) -> Vec<u8> {
    let photons: f64 = severity.of([500.0, 250.0, 100.0, 75.0, 50.0]);
    let noisy = floats(image).map(|value| byte(noise.poisson(value * photons) / photons));
    noisy.collect()
}
