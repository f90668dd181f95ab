//! FGSM, the fast gradient sign method (Goodfellow, Shlens, Szegedy, "Explaining and harnessing
//! adversarial examples", 2015): one step that raises the loss, equally large in every pixel.

use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    params::{RangeCheck, channel_scale_in_range, in_range},
    preset::Parameters,
    signed_gradient::SignedGradient,
};
use base::Result;
use nn::model::Classifier;

/// `x + step / channel_scale * sign(gradient of the cross entropy)`; the sign of 0 is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fgsm {
    /// Step size in `[0,1]` units, 0 to 1.
    pub step: f64,
    /// Divisors of the step size in R, G and B; the paper's are the channels' standard deviations.
    pub channel_scale: [f64; 3],
}

impl Parameters for Fgsm {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: true,
        needs_style: false,
        takes_start: false,
        strong: true,
        adversarial: true,
    };

    fn preset(preset: Preset) -> Self {
        let (step, channel_scale) = match preset {
            Preset::Paper | Preset::Published => (0.005, [0.2023, 0.1994, 0.2010]),
            Preset::Standard => (8.0 / 255.0, [1.0; 3]),
        };
        Self {
            step,
            channel_scale,
        }
    }

    fn check(&self) -> RangeCheck {
        in_range("step", self.step, 0.0..=1.0)?;
        channel_scale_in_range(&self.channel_scale)
    }
}

impl Attack for Fgsm {
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let attack = SignedGradient {
            step: self.step,
            channel_scale: self.channel_scale,
            ..SignedGradient::default()
        };
        attack.perturb(model, batch)
    }
}
