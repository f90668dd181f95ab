//! TRADES (Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically principled trade-off between robustness and
//! accuracy", 2019): the clean cross entropy plus `beta` times the divergence of the outputs under attack from the
//! clean ones, which the attack maximizes.

use attacks::signed_gradient::divergence_gradient;
use base::Result;
use candle_core::{D, Tensor, Var};
use candle_nn::ops::softmax;
use nn::model::{Classifier, Network};

use super::{
    MethodInputs, Step,
    adversarial_step::{AdversarialLoss, AdversarialStep, Losses},
    inner::InnerMaximization,
    pgd_at,
};
use crate::{
    batch::TrainBatch,
    config::{Config, Perturbation},
    eps::Eps,
};

/// Standard deviation of the start's normal noise: at the clean image the divergence has no gradient.
const START: f64 = 0.001;
/// Weight of the divergence, unless set.
const BETA: f64 = 6.0;

/// The authors': steps of 0.007, the ball rounded from 0.031 to eight levels.
pub fn defaults() -> Perturbation {
    Perturbation {
        step_size: Eps::number(0.007),
        beta: Some(BETA),
        ..pgd_at::defaults()
    }
}

/// The row's constructor.
pub fn build(inputs: MethodInputs) -> Result<Box<dyn Step>> {
    let trades = Trades::new(inputs.config);
    AdversarialStep::build(inputs, trades)
}

/// The loss of TRADES.
pub struct Trades {
    inner: InnerMaximization,
    beta: f64,
}

impl Trades {
    /// That of a run.
    pub fn new(config: &Config) -> Self {
        let beta = config.perturbation.as_ref().and_then(|p| p.beta);
        Self {
            inner: pgd_at::inner(config),
            beta: beta.unwrap_or(BETA),
        }
    }
}

impl AdversarialLoss for Trades {
    fn examples(&mut self, model: &dyn Classifier, batch: &TrainBatch) -> Result<Tensor> {
        // As a variable, so that the operations are those of `divergence_gradient`: others would round differently.
        let clean = model
            .logits(Var::from_tensor(&batch.images)?.as_tensor())?
            .detach();
        let clean = softmax(&clean, D::Minus1)?;
        let start = self.inner.normal_start(batch, START)?;
        self.inner.ascend(batch, start, &|images| {
            divergence_gradient(model, images, &clean)
        })
    }

    fn loss(
        &self,
        model: &dyn Network,
        images: &Tensor,
        examples: &Tensor,
        cross_entropy: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Losses> {
        let clean = model.train(images)?.logits;
        let logits = model.train(examples)?.logits;
        let cross_entropy = cross_entropy(&clean)?;
        let divergence = nn::kl_divergence(&clean, &logits)?;
        Ok(Losses {
            whole: (&cross_entropy + (divergence * self.beta)?)?,
            cross_entropy,
            logits,
        })
    }
}
