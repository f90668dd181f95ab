//! PGD adversarial training (Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to
//! adversarial attacks", 2018): the cross entropy of the last iterate of PGD from a random start.

use attacks::signed_gradient::cross_entropy_gradient;
use base::Result;
use candle_core::Tensor;
use nn::model::Classifier;

use super::{
    MethodInputs, Step,
    adversarial_step::{AdversarialLoss, AdversarialStep},
    inner::InnerMaximization,
};
use crate::{
    batch::TrainBatch,
    config::{Config, Perturbation},
    eps::Eps,
};

/// Eight levels in ten steps of two.
pub fn defaults() -> Perturbation {
    Perturbation {
        eps: Eps::levels(8),
        steps: 10,
        step_size: Eps::levels(2),
        beta: None,
        reset: None,
        awp: None,
    }
}

/// The rows' constructor, for `fast-at` too.
pub fn build(inputs: MethodInputs) -> Result<Box<dyn Step>> {
    let inner = inner(inputs.config);
    AdversarialStep::build(inputs, PgdAt { inner })
}

/// The run's attack.
pub fn inner(config: &Config) -> InnerMaximization {
    let settings = config.perturbation.clone();
    InnerMaximization::new(&settings.unwrap_or_else(defaults), config.seed)
}

/// The cross entropy of PGD's examples.
struct PgdAt {
    inner: InnerMaximization,
}

impl AdversarialLoss for PgdAt {
    fn examples(&mut self, model: &dyn Classifier, batch: &TrainBatch) -> Result<Tensor> {
        let start = self.inner.uniform_start(batch)?;
        self.inner.ascend(batch, start, &|images| {
            cross_entropy_gradient(model, images, &batch.labels, &batch.ids)
        })
    }
}
