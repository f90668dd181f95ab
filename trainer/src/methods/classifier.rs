//! Cross-entropy training of a classifier: the baseline on clean images, the adversarially trained model on the
//! sampler's draws.

use std::collections::BTreeMap;

use base::Result;
use candle_core::Tensor;
use nn::model::{Features, Network, Weights};

use super::{DetectorContext, MethodInputs, Step, StepOutput, step::part};
use crate::{batch::TrainBatch, config::Optimizer, optimizer::Sgd};

// Checkpoints have had these names since their first version.
const MODEL: &str = "net";
const MOMENTUM: &str = "net-momentum";

/// A model and its optimizer.
pub struct ClassifierStep {
    model: Box<dyn Network>,
    sgd: Sgd,
    lr: f64,
}

/// The row's constructor.
pub fn build(inputs: MethodInputs) -> Result<Box<dyn Step>> {
    let step = ClassifierStep::new(inputs.target, &inputs.config.optimizer)?;
    Ok(Box::new(step))
}

impl ClassifierStep {
    /// Trains `model`.
    pub fn new(model: Box<dyn Network>, optimizer: &Optimizer) -> Result<Self> {
        let variables = model.weights().variables()?;
        Ok(Self {
            sgd: Sgd::new(variables, optimizer.momentum, optimizer.weight_decay)?,
            lr: optimizer.lr,
            model,
        })
    }

    /// Features and cross entropy of a batch, in training mode.
    pub fn forward_loss(&self, batch: &TrainBatch) -> Result<(Features, Tensor)> {
        let features = self.model.train(&batch.images)?;
        let loss = nn::cross_entropy(&features.logits, &batch.targets()?)?;
        Ok((features, loss))
    }

    /// An SGD step on `loss`.
    pub fn update(&mut self, loss: &Tensor, lr_factor: f64) -> Result<()> {
        self.sgd.step(loss, self.lr * lr_factor)
    }
}

impl Step for ClassifierStep {
    fn step(&mut self, batch: &TrainBatch, lr_factor: f64) -> Result<StepOutput> {
        let (features, loss) = self.forward_loss(batch)?;
        self.update(&loss, lr_factor)?;
        let loss = loss.detach();
        Ok(StepOutput {
            step: batch.step,
            cross_entropy: loss.clone(),
            loss,
            smooth_l1: None,
            detector_loss: None,
            logits: features.logits.detach(),
            detector_logits: None,
        })
    }

    fn model(&self) -> &dyn Network {
        self.model.as_ref()
    }

    fn detector(&self) -> Option<DetectorContext<'_>> {
        None
    }

    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>> {
        Ok(BTreeMap::from([
            (MODEL, self.model.weights().clone()),
            (MOMENTUM, self.sgd.state()?.into_iter().collect()),
        ]))
    }

    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()> {
        self.model.weights().set(part(parts, MODEL)?)?;
        self.sgd.restore(part(parts, MOMENTUM)?.tensors())
    }
}
