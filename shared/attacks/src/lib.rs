//! Adversarial attacks: one file per attack holds its parameters, presets, traits and
//! perturbation; the registry below has one row for each. [`judge::run`] is what a program
//! calls: it perturbs, clips, quantizes to 8 bits ([`quantize`], `repair`) and classifies the
//! stored bytes.
#![forbid(unsafe_code)]

#[macro_use]
mod registry;

mod adam;
mod check;
mod cohort;
mod gradient;
mod logits;
mod preset;
mod repair;
mod search;
mod sign;

pub mod bim;
mod config;
pub mod cw;
pub mod deepfool;
pub mod fgsm;
pub mod gaussian;
pub mod judge;
mod kind;
pub mod nst;
pub mod quantize;
pub mod style;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use base::{Error, Result};
use data::CLASSES;
use nn::model::Classifier;

pub use judge::{Sample, run};
pub use kind::AttackTraits;
use preset::Parameters;
pub use preset::Preset;
pub use style::style_of;

// An attack is one row here and one file. Never change or reuse an id: content hashes cover it.
attacks! {
    // id, kind, name, label, in the paper, parameters
    1, Gaussian, gaussian, "Gaussian", true, gaussian::Gaussian;
    2, Fgsm, fgsm, "FGSM", true, fgsm::Fgsm;
    3, Bim, bim, "BIM", true, bim::Bim;
    4, DeepFool, deepfool, "DeepFool", true, deepfool::DeepFool;
    5, Cw, cw, "C&W", true, cw::Cw;
    6, Nst, nst, "NST", true, nst::Nst;
}

/// A batch of images to attack. What an attack does to one of them depends on that image,
/// its label, its id, its style image and the seed alone, never on the rest of the batch.
pub struct AttackBatch<'a> {
    /// `[B,3,32,32]`, f32 in `[0,1]`.
    pub images: Tensor,
    /// For each image one of another class of its split, `[B,3,32,32]` in `[0,1]` (NST's style).
    pub styles: Tensor,
    /// `B` true classes.
    pub labels: &'a [u8],
    /// `B` image ids: the keys of their random numbers.
    pub ids: &'a [u64],
    /// The build's seed.
    pub seed: u64,
}

impl AttackBatch<'_> {
    /// Fails unless the parts of the batch fit each other.
    ///
    /// # Errors
    /// [`Error::Data`] when a shape, a length or a label is not what [`Batch`] says.
    pub fn check(&self) -> Result<()> {
        let shape = [self.labels.len(), 3, 32, 32];
        for (what, tensor) in [("images", &self.images), ("styles", &self.styles)] {
            if tensor.dims() != shape {
                let (found, expected) = (format!("{:?}", tensor.dims()), format!("{shape:?}"));
                return Err(Error::data(format!("batch {what}"), found, expected));
            }
        }
        if self.ids.len() != self.labels.len() {
            let (found, expected) = (self.ids.len(), self.labels.len());
            return Err(Error::data("batch ids", found, expected));
        }
        match self.labels.iter().position(|&l| usize::from(l) >= CLASSES) {
            None => Ok(()),
            Some(row) => Err(Error::data(
                format!("image {}", self.ids[row]),
                format!("label {}", self.labels[row]),
                "a label from 0 to 9",
            )),
        }
    }
}

/// What an attack leaves: still floats, not yet clipped, quantized or judged.
pub struct Perturbed {
    /// `[B,3,32,32]`, f32.
    pub images: Tensor,
    /// Steps taken for each image; 0 where the attack left the image as it was.
    pub steps: Vec<u32>,
}

/// One way to perturb images.
pub trait Attack: Send + Sync {
    /// Perturbs every image of the batch against `net`, which is in evaluation mode.
    fn perturb(&self, net: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed>;
}
