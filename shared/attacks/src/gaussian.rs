//! Additive Gaussian white noise, which needs no model.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    params::{RangeCheck, in_range},
    preset::Parameters,
};
use base::{Result, random::Stream};
use data::IMAGE_BYTES;
use nn::model::Classifier;

/// Adds `std * N(0,1)` to every pixel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaussian {
    /// Standard deviation, 0 to 1 (of the pixels' range).
    pub std: f64,
}

impl Parameters for Gaussian {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: false,
        needs_gradient: false,
        needs_style: false,
        takes_start: false,
        strong: false,
        adversarial: false,
    };

    fn preset(_: Preset) -> Self {
        Self { std: 0.1 }
    }

    fn check(&self) -> RangeCheck {
        in_range("std", self.std, 0.0..=1.0)
    }
}

impl Attack for Gaussian {
    fn perturb(&self, _: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let mut noise = Vec::with_capacity(batch.pixels().len());
        for &id in batch.ids() {
            let mut stream = Stream::new(batch.seed(), "gaussian", &[id]);
            noise.extend((0..IMAGE_BYTES).map(|_| (self.std * stream.normal()) as f32));
        }
        let noise = Tensor::from_vec(noise, batch.images().dims(), batch.device())?;
        Ok(Perturbed {
            images: (batch.images() + noise)?,
            steps: vec![1; batch.len()],
        })
    }
}
