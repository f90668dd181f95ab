//! BIM, the basic iterative method (Kurakin, Goodfellow, Bengio, "Adversarial examples in the
//! physical world", 2017): iterated FGSM, projected onto the eps ball and `[0,1]`.

use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    params::{RangeCheck, channel_scale_in_range, in_range, steps_in_range},
    preset::Parameters,
    signed_gradient::SignedGradient,
};
use base::Result;
use nn::model::Classifier;

/// Signed-gradient steps from the clean image; the last iterate is the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bim {
    /// Radius of the Linf ball, 0 to 1; 1 bounds nothing.
    pub eps: f64,
    /// Step size in `[0,1]` units, 0 to 1.
    pub step: f64,
    /// Number of steps.
    pub steps: u32,
    /// Divisors of the step size in R, G and B.
    pub channel_scale: [f64; 3],
    /// Size of one more step before the others, not divided; 0 for none. The paper takes one.
    pub first_step: f64,
}

impl Parameters for Bim {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: true,
        needs_style: false,
        takes_start: true,
        strong: true,
        adversarial: true,
    };

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Paper | Preset::Published => Self {
                eps: 1.0,
                step: 0.001,
                steps: 5,
                channel_scale: [0.2023, 0.1994, 0.2010],
                first_step: 0.001,
            },
            Preset::Standard => Self {
                eps: 8.0 / 255.0,
                step: 2.0 / 255.0,
                steps: 10,
                channel_scale: [1.0; 3],
                first_step: 0.0,
            },
        }
    }

    fn check(&self) -> RangeCheck {
        in_range("eps", self.eps, 0.0..=1.0)?;
        in_range("step", self.step, 0.0..=1.0)?;
        steps_in_range(self.steps)?;
        channel_scale_in_range(&self.channel_scale)?;
        in_range("first_step", self.first_step, 0.0..=1.0)
    }
}

impl Attack for Bim {
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let attack = SignedGradient {
            eps: self.eps,
            step: self.step,
            steps: self.steps,
            channel_scale: self.channel_scale,
            first_step: self.first_step,
            random_start: None,
        };
        attack.perturb(model, batch)
    }

    fn radius(&self) -> Option<f64> {
        Some(self.eps)
    }
}
