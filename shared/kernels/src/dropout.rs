//! Dropout masks as a function of (key, position): 0 or 1 / (1 - rate). A mask is never stored, but
//! computed again where it is needed.

use rayon::prelude::*;

use crate::multiversion::multiversion;
use crate::random;

/// Positions drawn together: four 16-bit decisions from each of 16 random words.
const BLOCK: usize = 64;
const WORDS: usize = BLOCK / 4;

/// A dropout mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutMask {
    /// Decisions below this, of 65,536, drop.
    threshold: u32,
    /// Scale of the kept elements, 1 / (1 - rate).
    scale: f32,
    key: u64,
}

impl DropoutMask {
    /// Drops with probability `rate`, rounded to a multiple of 2^-16.
    pub fn new(rate: f32, key: u64) -> Self {
        const ALL: f32 = 65_536.0;
        let threshold = (rate * ALL).round().clamp(0.0, ALL - 1.0);
        Self {
            threshold: threshold as u32,
            scale: ALL / (ALL - threshold),
            key,
        }
    }

    /// Random key of the mask.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// 16-bit decisions below this drop.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Scale of the kept elements, 1 / (1 - rate).
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Writes the factors of the positions from `first` on.
    pub fn write(&self, first: usize, mut factors: &mut [f32]) {
        let mut block = [0.0; BLOCK];
        let mut position = first;
        while !factors.is_empty() {
            let start = position % BLOCK;
            let count = (BLOCK - start).min(factors.len());
            let (now, later) = factors.split_at_mut(count);
            draw(self, (position / BLOCK) as u64, &mut block);
            now.copy_from_slice(&block[start..start + count]);
            position += count;
            factors = later;
        }
    }

    /// Multiplies `x` by the factors of the positions from `first` on.
    pub fn apply(&self, first: usize, x: &mut [f32]) {
        let mut factors = [0.0; 16 * BLOCK];
        for (part, x) in x.chunks_mut(factors.len()).enumerate() {
            let factors = &mut factors[..x.len()];
            self.write(first + part * 16 * BLOCK, factors);
            for (x, factor) in x.iter_mut().zip(factors) {
                *x *= *factor;
            }
        }
    }

    /// A whole tensor, multiplied, on all threads.
    pub fn applied(&self, x: &[f32]) -> Vec<f32> {
        const CHUNK: usize = 16 * 1024;
        let mut out = x.to_vec();
        let chunks = out.par_chunks_mut(CHUNK).enumerate();
        chunks.for_each(|(chunk, x)| self.apply(chunk * CHUNK, x));
        out
    }
}

multiversion! {
    /// Factors of a block of positions.
    pub fn draw(mask: &DropoutMask, block: u64, factors: &mut [f32; BLOCK]) {
        let mut words = [0; WORDS];
        let first = block.wrapping_mul(WORDS as u64);
        for (index, word) in (first..).zip(&mut words) {
            *word = random::bits_at(mask.key, index);
        }
        for (part, factors) in factors.as_chunks_mut::<WORDS>().0.iter_mut().enumerate() {
            for (factor, word) in factors.iter_mut().zip(&words) {
                let decision = (word >> (16 * part)) as u32 & 0xFFFF;
                *factor = if decision < mask.threshold { 0.0 } else { mask.scale };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(mask: &DropoutMask, count: usize) -> Vec<bool> {
        let mut factors = vec![0.0; count];
        mask.write(0, &mut factors);
        factors.iter().map(|&factor| factor == 0.0).collect()
    }

    /// Standard errors between `hits` of `count` draws and `chance`.
    fn off(hits: usize, count: usize, chance: f64) -> f64 {
        let count = count as f64;
        (hits as f64 - count * chance).abs() / (count * chance * (1.0 - chance)).sqrt()
    }

    #[test]
    fn decisions_are_uniform_and_independent() {
        const COUNT: usize = 1 << 20;
        for rate in [0.1, 0.5] {
            let chance = (f64::from(rate) * 65_536.0).round() / 65_536.0;
            let drops = dropped(&DropoutMask::new(rate, 5), COUNT);
            let hits = |f: &dyn Fn(usize) -> bool| (0..COUNT).filter(|&i| f(i)).count();
            assert!(off(hits(&|i| drops[i]), COUNT, chance) < 4.0);
            // Neighbors, decisions of one word, neighboring blocks, rows of a tensor.
            for lag in [1, 2, 15, 16, 17, 32, 48, 63, 64, 256, 1024] {
                let both = hits(&|i| drops[i] && drops[(i + lag) % COUNT]);
                assert!(off(both, COUNT, chance * chance) < 4.5, "lag {lag}");
            }
            // Every place within a block.
            for place in 0..BLOCK {
                let here = (place..COUNT).step_by(BLOCK).filter(|&i| drops[i]).count();
                assert!(off(here, COUNT / BLOCK, chance) < 4.5, "place {place}");
            }
            // Another key, near or far.
            for key in [4, 6, 5 + (1 << 40), u64::MAX] {
                let other = dropped(&DropoutMask::new(rate, key), COUNT);
                let both = hits(&|i| drops[i] && other[i]);
                assert!(off(both, COUNT, chance * chance) < 4.5, "key {key}");
            }
        }
    }

    #[test]
    fn a_mask_is_the_same_on_every_device_and_in_every_version() {
        // shared/nn/tests/kernels_on_cpu.cpp asks the CUDA kernel for the same.
        let kept = "0111011011111011100011111101111011011100111110111111011101111011\
                    1111111001111110010111101111111101111101000011100011101110001110";
        let expected: Vec<bool> = kept.bytes().map(|bit| bit == b'0').collect();
        assert_eq!(dropped(&DropoutMask::new(0.3, 8), 128), expected);
    }

    #[test]
    fn a_position_has_its_factor_wherever_one_starts() {
        let mask = DropoutMask::new(0.3, 8);
        let mut all = vec![0.0; 5000];
        mask.write(0, &mut all);
        assert_eq!(mask.applied(&vec![1.0; 5000]), all);
        for (first, count) in [(1, 1), (63, 2), (64, 64), (100, 1000), (777, 4223)] {
            let mut part = vec![1.0; count];
            mask.apply(first, &mut part);
            assert_eq!(part, all[first..first + count]);
        }
    }
}
