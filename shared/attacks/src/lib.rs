//! Adversarial attacks: one file per attack holds its parameters, presets, traits and
//! perturbation; the registry below has one row for each.
//!
//! [`generate`] is what a program calls on an [`AttackBatch`]: it perturbs, clips to `[0,1]`,
//! quantizes to 8 bits ([`quantize`], `requantize`) and classifies the stored bytes.
#![forbid(unsafe_code)]

#[macro_use]
mod registry;

mod active_set;
mod adam;
mod batch;
mod config;
mod generate;
mod gradient;
mod kind;
pub mod logits;
mod params;
mod preset;
mod requantize;
mod style;

pub mod bim;
pub mod cw;
pub mod deepfool;
pub mod fgsm;
pub mod gaussian;
pub mod nst;
pub mod padding;
pub mod pgd;
pub mod quantize;
pub mod signed_gradient;

#[cfg(test)]
mod tests;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use base::Result;
use nn::model::Classifier;

pub use batch::AttackBatch;
pub use data::Sample;
pub use generate::generate;
pub use kind::AttackTraits;
use preset::Parameters;
pub use preset::Preset;
pub use style::{SplitStyles, StyleSource};

// An attack is one row here and one file. Never change or reuse an id: content hashes cover it.
attacks! {
    // id, kind, name, label, in the paper, parameters
    1, Gaussian, gaussian, "Gaussian", true, gaussian::Gaussian;
    2, Fgsm, fgsm, "FGSM", true, fgsm::Fgsm;
    3, Bim, bim, "BIM", true, bim::Bim;
    4, DeepFool, deepfool, "DeepFool", true, deepfool::DeepFool;
    5, Cw, cw, "C&W", true, cw::Cw;
    6, Nst, nst, "NST", true, nst::Nst;
    7, Pgd, pgd, "PGD", false, pgd::Pgd;
    // 8 is ATTA's.
}

/// Id and name of an attack whose samples a training makes, not a generator.
pub struct ReservedAttack {
    /// The store's `attack.id`; as those of the registry, never given to another attack.
    pub id: i64,
    /// The store's `attack.name`.
    pub name: &'static str,
}

/// The perturbations that training with ATTA ends with.
pub const ATTA: ReservedAttack = ReservedAttack {
    id: 8,
    name: "atta",
};

/// What an attack returns: floats, not yet clipped, quantized or classified.
pub struct Perturbed {
    /// `[B,3,32,32]`, f32.
    pub images: Tensor,
    /// Steps taken for each image; 0 where the attack left the image unchanged.
    pub steps: Vec<u32>,
}

/// An attack with its parameters.
pub trait Attack: Send + Sync {
    /// Perturbs every image of the batch against `model`, which is in evaluation mode.
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed>;

    /// Radius of the Linf ball that the images lie in, in `[0,1]` units; none without such a bound.
    fn radius(&self) -> Option<f64> {
        None
    }
}
