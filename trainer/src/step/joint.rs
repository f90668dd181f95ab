//! The paper's joint training (section 3, and its published code): first the detector learns, from
//! the frozen pretrained model's features, to tell attacked images from clean ones; then the target
//! learns its labels and to look, through the frozen detector, like the pretrained net.

use std::collections::BTreeMap;

use candle_core::Tensor;

use base::{Result, random};
use nn::model::{Classifier, Detector, Dropout, Network, Weights};

use super::{Classification, Seen, Step, Watch, part};
use crate::{
    batch::TrainBatch,
    config::{Joint, Optimizer},
    optimizer::Sgd,
};

/// Weights of the target's loss and the detector's settings.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    /// Of the settings.
    pub joint: Joint,
    /// Key of the dropout masks.
    pub seed: u64,
}

/// The three models at work.
pub struct JointStep {
    pretrained: Box<dyn Classifier>,
    target: Classification,
    detector: Detector,
    /// The detector's memory, seen as constants: gradients pass through, none stay.
    frozen: Detector,
    sgd: Sgd,
    losses: Losses,
}

impl JointStep {
    /// Trains `target` and `detector`.
    pub fn new(
        pretrained: Box<dyn Classifier>,
        target: Box<dyn Network>,
        detector: Detector,
        optimizer: &Optimizer,
        losses: Losses,
    ) -> Result<Self> {
        let variables = detector.weights().variables()?;
        Ok(Self {
            pretrained,
            target: Classification::new(target, optimizer)?,
            frozen: Detector::new("the detector", detector.weights().frozen())?,
            sgd: Sgd::new(variables, optimizer.momentum, optimizer.weight_decay)?,
            detector,
            losses,
        })
    }

    /// The dropout of the first or second look of a step.
    fn dropout(&self, step: u64, look: u64) -> Option<Dropout> {
        Some(Dropout {
            rate: self.losses.joint.dropout as f32,
            key: random::key(self.losses.seed, "dropout", &[step, look]),
        })
    }
}

/// `weight * loss`. A weight of 0 gives gradients of 0, as in PyTorch, where candle gives none.
fn weighted(loss: &Tensor, weight: f64) -> Result<Tensor> {
    Ok(match weight {
        0.0 => (loss * loss.zeros_like()?.detach())?,
        _ => (loss * weight)?,
    })
}

impl Step for JointStep {
    fn step(&mut self, batch: &TrainBatch, factor: f64) -> Result<Seen> {
        let joint = self.losses.joint;
        let maps = self.pretrained.features(&batch.images)?.maps;
        let seen = self.detector.forward(&maps, self.dropout(batch.step, 0))?;
        let detector_loss = nn::cross_entropy(&seen.logits, &batch.detector_targets()?)?;
        let rate = joint.detector_lr * factor;
        self.sgd.step(&detector_loss, rate)?;

        let (features, cross_entropy) = self.target.look(batch)?;
        let shown = self
            .frozen
            .forward(&features.maps, self.dropout(batch.step, 1))?;
        let distance = nn::smooth_l1(&shown.feature, &seen.feature.detach())?;
        let loss = (weighted(&cross_entropy, joint.alpha)? + weighted(&distance, joint.beta)?)?;
        self.target.descend(&loss, factor)?;
        Ok(Seen {
            step: batch.step,
            loss: loss.detach(),
            cross_entropy: cross_entropy.detach(),
            smooth_l1: Some(distance.detach()),
            detector_loss: Some(detector_loss.detach()),
            logits: features.logits.detach(),
            detector_logits: Some(seen.logits.detach()),
        })
    }

    fn net(&self) -> &dyn Network {
        self.target.net()
    }

    fn watch(&self) -> Option<Watch<'_>> {
        Some(Watch {
            detector: &self.detector,
            pretrained: self.pretrained.as_ref(),
        })
    }

    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>> {
        let mut parts = self.target.parts()?;
        parts.insert("detector", self.detector.weights().clone());
        let momentum = self.sgd.state()?.into_iter().collect();
        parts.insert("detector-momentum", momentum);
        Ok(parts)
    }

    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()> {
        self.target.restore(parts)?;
        self.detector.weights().set(part(parts, "detector")?)?;
        self.sgd
            .restore(part(parts, "detector-momentum")?.tensors())
    }
}
