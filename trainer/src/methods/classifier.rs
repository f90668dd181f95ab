//! Cross-entropy training of a classifier: the baseline on clean images, the adversarially trained model on the
//! sampler's draws.

use std::collections::BTreeMap;

use base::Result;
use candle_core::{Device, Tensor};
use nn::{
    StepBatch, StepGraph, StepResults,
    model::{Features, Network, Weights},
};

use super::{DetectorContext, MethodInputs, Step, StepOutput, step::part};
use crate::{
    batch::TrainBatch,
    config::Optimizer,
    ema::Ema,
    optimizer::{ParameterOptimizer, Sgd},
};

// Checkpoints have had these names since their first version.
const MODEL: &str = "net";
const MOMENTUM: &str = "net-momentum";
const EMA: &str = "ema";

/// A model and its optimizer.
pub struct ClassifierStep {
    model: Box<dyn Network>,
    ema: Option<Ema>,
    sgd: Sgd,
    graph: StepGraph,
    lr: f64,
    label_smoothing: f64,
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
        let device = variables.values().next().map(|var| var.device().clone());
        let device = device.unwrap_or(Device::Cpu);
        let ema = optimizer.ema.map(|decay| Ema::new(model.as_ref(), decay));
        Ok(Self {
            ema: ema.transpose()?,
            sgd: Sgd::new(variables, optimizer)?,
            graph: StepGraph::new(&device)?,
            lr: optimizer.lr,
            label_smoothing: optimizer.label_smoothing,
            model,
        })
    }

    /// Features and cross entropy of a batch, in training mode.
    pub fn forward_loss(&self, batch: &TrainBatch) -> Result<(Features, Tensor)> {
        let features = self.model.train(&batch.images)?;
        let loss = self.cross_entropy(&features.logits, batch)?;
        Ok((features, loss))
    }

    /// Mean cross entropy of logits with the batch's smoothed labels.
    pub fn cross_entropy(&self, logits: &Tensor, batch: &TrainBatch) -> Result<Tensor> {
        let targets = batch.targets()?;
        Ok(nn::smoothed_cross_entropy(
            logits,
            &targets,
            self.label_smoothing,
        )?)
    }

    /// An SGD step on `loss`.
    pub fn step_on(&mut self, loss: &Tensor, lr_factor: f64) -> Result<()> {
        self.sgd.step(loss, self.lr * lr_factor)
    }

    /// Takes the weights into their average, after all of a training step's updates.
    pub fn average(&self, batch: &TrainBatch) -> Result<()> {
        match &self.ema {
            Some(ema) => ema.update(self.model.weights(), batch.step),
            None => Ok(()),
        }
    }
}

impl Step for ClassifierStep {
    fn step(&mut self, batch: &TrainBatch, lr_factor: f64) -> Result<StepOutput> {
        let (model, sgd, smoothing) = (&self.model, &self.sgd, self.label_smoothing);
        let inputs = StepBatch {
            images: &batch.images,
            labels: batch.labels.iter().copied().map(u32::from).collect(),
            rate: (self.lr * lr_factor) as f32,
        };
        let StepResults { loss, logits } = self.graph.run(&inputs, &mut |inputs| {
            let logits = model.train(&inputs.images)?.logits;
            let loss = nn::smoothed_cross_entropy(&logits, &inputs.labels, smoothing)?;
            sgd.step_at(&loss, &inputs.rate)?;
            Ok(StepResults {
                loss: loss.detach(),
                logits: logits.detach(),
            })
        })?;
        self.average(batch)?;
        Ok(StepOutput {
            step: batch.step,
            cross_entropy: loss.clone(),
            loss,
            smooth_l1: None,
            detector_loss: None,
            logits,
            detector_logits: None,
        })
    }

    fn model(&self) -> &dyn Network {
        self.model.as_ref()
    }

    fn evaluated(&self) -> &dyn Network {
        self.ema.as_ref().map_or(self.model.as_ref(), Ema::network)
    }

    fn detector(&self) -> Option<DetectorContext<'_>> {
        None
    }

    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>> {
        let mut parts = BTreeMap::from([
            (MODEL, self.model.weights().clone()),
            (MOMENTUM, self.sgd.state()?.into_iter().collect()),
        ]);
        if let Some(ema) = &self.ema {
            parts.insert(EMA, ema.network().weights().clone());
        }
        Ok(parts)
    }

    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()> {
        self.model.weights().set(part(parts, MODEL)?)?;
        if let Some(ema) = &self.ema {
            ema.network().weights().set(part(parts, EMA)?)?;
        }
        self.graph.forget();
        self.sgd.restore(part(parts, MOMENTUM)?.tensors())
    }
}
