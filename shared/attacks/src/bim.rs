//! BIM, the basic iterative method (Kurakin, Goodfellow, Bengio, "Adversarial examples in the
//! physical world", 2017): FGSM's step many times, kept near the clean image and in `[0,1]`.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    check::{self, Check, number, steps},
    preset::Parameters,
    sign,
};
use base::Result;
use nn::model::Classifier;

/// Steps along the sign of the gradient; the last iterate is the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bim {
    /// Largest change of a pixel, 0 to 1; 1 bounds nothing.
    pub eps: f64,
    /// Size of a step in `[0,1]` units, 0 to 1.
    pub step: f64,
    /// How many such steps.
    pub steps: u32,
    /// What divides the step in R, G and B.
    pub channel_scale: [f64; 3],
    /// Size of one more step before the others, undivided; 0 for none. The paper takes one.
    pub first_step: f64,
}

impl Parameters for Bim {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: true,
        needs_style: false,
        strong: true,
    };

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Paper => Self {
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

    fn check(&self) -> Check {
        number("eps", self.eps, 0.0..=1.0)?;
        number("step", self.step, 0.0..=1.0)?;
        steps(self.steps)?;
        check::channel_scale(&self.channel_scale)?;
        number("first_step", self.first_step, 0.0..=1.0)
    }
}

impl Attack for Bim {
    fn perturb(&self, net: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        batch.check()?;
        let clean = &batch.images;
        let low = (clean - self.eps)?.maximum(0f32)?;
        let high = (clean + self.eps)?.minimum(1f32)?;
        let walk = |images: &Tensor, step: &Tensor| -> Result<Tensor> {
            let sign = sign::of_gradient(net, images, batch)?;
            let moved = (images + sign.broadcast_mul(step)?)?;
            Ok(moved.maximum(&low)?.minimum(&high)?)
        };

        let mut images = clean.clone();
        let mut taken = self.steps;
        if self.first_step > 0.0 {
            images = walk(
                &images,
                &sign::channel_step(self.first_step, &[1.0; 3], clean)?,
            )?;
            taken += 1;
        }
        let step = sign::channel_step(self.step, &self.channel_scale, clean)?;
        for _ in 0..self.steps {
            images = walk(&images, &step)?;
        }
        Ok(Perturbed {
            images,
            steps: vec![taken; batch.ids.len()],
        })
    }
}
