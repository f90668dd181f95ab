//! Attacks: a batch of clean pictures and a net come in, perturbed pictures go out.

use candle_core::Tensor;

use crate::{Result, model::Classifier};

/// A batch of pictures to attack. What an attack does to one of them depends on that picture,
/// its label, its id, its style picture and the seed alone, never on the rest of the batch.
pub struct Batch<'a> {
    /// `[B,3,32,32]`, f32 in `[0,1]`.
    pub images: Tensor,
    /// For each picture one of another class of its split, `[B,3,32,32]` in `[0,1]` (NST's style).
    pub styles: Tensor,
    /// `B` true classes.
    pub labels: &'a [u8],
    /// `B` picture ids: the keys of their random numbers.
    pub ids: &'a [u64],
    /// The build's seed.
    pub seed: u64,
}

/// What an attack leaves: still floats, not yet clipped, quantised or judged.
pub struct Perturbed {
    /// `[B,3,32,32]`, f32.
    pub images: Tensor,
    /// Steps taken for each picture.
    pub steps: Vec<u32>,
}

/// One way to perturb pictures.
pub trait Attack: Send + Sync {
    /// Perturbs every picture of the batch against `net`, which is in evaluation mode.
    fn perturb(&self, net: &dyn Classifier, batch: &Batch) -> Result<Perturbed>;
}
