//! Random numbers of the random corruptions: the trait, so that tests can feed recorded ones, and the source keyed by
//! (seed, corruption, image, severity).

use base::random::Stream;

use super::{Corruption, Severity};

/// A source of random numbers, drawn value by value in the order of the interleaved bytes.
pub trait NoiseSource {
    /// A standard normal number.
    fn normal(&mut self) -> f64;

    /// Uniform in `[0, 1)`.
    fn uniform(&mut self) -> f64;

    /// A Poisson number of this mean, 0 to 500.
    fn poisson(&mut self, mean: f64) -> f64;
}

/// Independent noise for each seed, corruption, image and severity.
pub struct KeyedNoise(Stream);

impl KeyedNoise {
    /// The noise of the image `id`.
    pub fn new(seed: u64, corruption: &Corruption, severity: Severity, id: u64) -> Self {
        let indices = [id, severity.number().into()];
        Self(Stream::new(seed, corruption.name, &indices))
    }
}

impl NoiseSource for KeyedNoise {
    fn normal(&mut self) -> f64 {
        self.0.normal()
    }

    fn uniform(&mut self) -> f64 {
        self.0.uniform()
    }

    /// Inversion by sequential search (Devroye, "Non-uniform random variate generation", 1986, section X.3.3).
    fn poisson(&mut self, mean: f64) -> f64 {
        let target = self.0.uniform();
        let mut count = 0.0;
        let mut probability = (-mean).exp();
        let mut cumulative = probability;
        while cumulative <= target {
            count += 1.0;
            probability *= mean / count;
            let next = cumulative + probability;
            // Beyond the mean, probabilities that change nothing are smaller than what rounding has lost.
            if next == cumulative && count > mean {
                break;
            }
            cumulative = next;
        }
        count
    }
}
