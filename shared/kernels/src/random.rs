//! Counter-based random numbers: each is a function of (seed, purpose, indices) and of nothing
//! else, so that no thread, batch or order can change it.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
//! generators", 2014): ten lines that any language can repeat exactly.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Output function of SplitMix64: a bijection of 64 bits that mixes all of them.
#[inline]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A 64-bit key for `(seed, purpose, indices)`; keys of different arguments are unrelated.
pub fn key(seed: u64, purpose: &str, indices: &[u64]) -> u64 {
    let absorb = |state: u64, word: u64| mix(state.wrapping_add(GOLDEN) ^ mix(word));
    let state = purpose
        .bytes()
        .fold(mix(seed), |state, byte| absorb(state, u64::from(byte)));
    // The separator keeps ("a", [98]) apart from ("ab", []).
    indices
        .iter()
        .fold(absorb(state, 256), |state, &index| absorb(state, index))
}

/// The `index`-th 64 random bits of a key; random access.
#[inline]
pub fn bits_at(key: u64, index: u64) -> u64 {
    mix(key.wrapping_add(GOLDEN.wrapping_mul(index.wrapping_add(1))))
}

/// The `index`-th uniform number in [0, 1) of a key; random access. 24 bits, exact in f32.
#[inline]
pub fn uniform_at(key: u64, index: u64) -> f32 {
    (bits_at(key, index) >> 40) as f32 * (1.0 / (1u64 << 24) as f32)
}

/// The `index`-th standard normal number of a key (Box and Muller, 1958); random access.
pub fn normal_at(key: u64, index: u64) -> f32 {
    let uniform = |index: u64| (bits_at(key, index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
    box_muller(uniform(2 * index), uniform(2 * index + 1)) as f32
}

/// A standard normal number of two uniform ones in [0, 1).
fn box_muller(radius: f64, angle: f64) -> f64 {
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of `(seed, purpose, indices)`.
    pub fn new(seed: u64, purpose: &str, indices: &[u64]) -> Self {
        Self {
            state: key(seed, purpose, indices),
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n, with negligible bias (the high half of a 128-bit product).
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "drawing from an empty range");
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Standard normal (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        box_muller(self.uniform(), self.uniform())
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// A permutation of 0..n.
pub fn permutation(n: usize, seed: u64, purpose: &str, indices: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    Stream::new(seed, purpose, indices).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64() {
        // The first outputs of the reference implementation from state 0.
        let mut stream = Stream { state: 0 };
        assert_eq!(stream.bits(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(stream.bits(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn keys_differ_in_every_argument() {
        let keys = [
            key(0, "a", &[]),
            key(1, "a", &[]),
            key(0, "b", &[]),
            key(0, "a", &[0]),
            key(0, "a", &[0, 0]),
            key(0, "ab", &[]),
            key(0, "a", &[98]),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn normal_numbers_at_random_access_are_those_of_a_stream() {
        let mut stream = Stream { state: 5 };
        for index in 0..10 {
            assert_eq!(normal_at(5, index), stream.normal() as f32);
        }
    }

    #[test]
    fn uniform_and_normal_numbers_have_their_moments() {
        let mut stream = Stream::new(7, "moments", &[]);
        let n = 200_000;
        let (mut mean, mut normal_mean, mut normal_square) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            mean += stream.uniform() / f64::from(n);
            let z = stream.normal();
            normal_mean += z / f64::from(n);
            normal_square += z * z / f64::from(n);
        }
        assert!((mean - 0.5).abs() < 0.003);
        assert!(normal_mean.abs() < 0.01);
        assert!((normal_square - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = permutation(1000, 3, "order", &[1]);
        assert_ne!(order, permutation(1000, 3, "order", &[2]));
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &x)| i == x));
    }
}
