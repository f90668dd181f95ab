//! PGD, projected gradient descent (Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep
//! learning models resistant to adversarial attacks", 2018): BIM from a random start in the eps
//! ball.

use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    params::{RangeCheck, in_range, steps_in_range},
    preset::Parameters,
    signed_gradient::SignedGradient,
};
use base::Result;
use nn::model::Classifier;

/// Signed-gradient steps in the Linf ball; the last iterate is the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pgd {
    /// Radius of the Linf ball, 0 to 1.
    pub eps: f64,
    /// Step size in `[0,1]` units, 0 to 1.
    pub step: f64,
    /// Number of steps.
    pub steps: u32,
    /// Whether to start uniformly at random in the ball and not at the clean image.
    pub random_start: bool,
}

impl Parameters for Pgd {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: false,
        needs_style: false,
        takes_start: true,
        strong: true,
        adversarial: true,
    };

    /// One for all presets, since the paper's Table 1 has no PGD: the usual evaluation on CIFAR-10.
    fn preset(_: Preset) -> Self {
        Self {
            eps: 8.0 / 255.0,
            step: 2.0 / 255.0,
            steps: 20,
            random_start: true,
        }
    }

    fn check(&self) -> RangeCheck {
        in_range("eps", self.eps, 0.0..=1.0)?;
        in_range("step", self.step, 0.0..=1.0)?;
        steps_in_range(self.steps)
    }
}

impl Attack for Pgd {
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let attack = SignedGradient {
            eps: self.eps,
            step: self.step,
            steps: self.steps,
            random_start: self.random_start.then_some("pgd"),
            ..SignedGradient::default()
        };
        attack.perturb(model, batch)
    }

    fn radius(&self) -> Option<f64> {
        Some(self.eps)
    }
}
