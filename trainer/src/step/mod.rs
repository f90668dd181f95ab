//! What one training step does: a batch comes in, weights move, losses and predictions go out.
//! One file per method, behind one trait.

mod classifier;
mod joint;

use std::collections::BTreeMap;

use base::{Error, Result};
use candle_core::Tensor;
use nn::model::{Classifier, Detector, Network, Weights, predicted_classes};

pub use self::{
    classifier::Classification,
    joint::{JointStep, Losses},
};
use crate::batch::TrainBatch;

/// A way to train.
pub trait Step {
    /// Learns from a batch; learning rates are multiplied by `factor`. A loss that is no number
    /// moves no weight; whoever reads what was seen finds out.
    fn step(&mut self, batch: &TrainBatch, factor: f64) -> Result<Seen>;

    /// The model that is trained.
    fn net(&self) -> &dyn Network;

    /// The detector that is trained, with the model whose features it learns from.
    fn watch(&self) -> Option<Watch<'_>>;

    /// All that a checkpoint must keep, by file name; the models' own tensors, not copies.
    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>>;

    /// Takes back what [`Step::parts`] gave.
    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()>;
}

/// A detector and the frozen model it looks at.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Tells clean from attacked.
    pub detector: &'a Detector,
    /// The model whose feature maps it sees.
    pub pretrained: &'a dyn Classifier,
}

/// What a step saw, still on its device: to read it is to wait for the step, which the next one
/// need not.
pub struct Seen {
    /// Steps before this one in the whole run.
    pub step: u64,
    /// The classifier's whole loss.
    pub loss: Tensor,
    /// Its cross entropy.
    pub cross_entropy: Tensor,
    /// The distance between detector features (joint).
    pub smooth_l1: Option<Tensor>,
    /// The detector's cross entropy (joint).
    pub detector_loss: Option<Tensor>,
    /// The classifier's, `[B,classes]`.
    pub logits: Tensor,
    /// The detector's, `[B,2]` (joint).
    pub detector_logits: Option<Tensor>,
}

impl Seen {
    /// What was seen, as numbers.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a loss that is no number.
    pub fn read(&self) -> Result<Outcome> {
        let value = |loss: &Tensor| Ok::<_, Error>(f64::from(loss.to_scalar::<f32>()?));
        let detector_loss = self.detector_loss.as_ref();
        let detector_loss = detector_loss
            .map(|loss| finite("the detector's loss", loss, self.step))
            .transpose()?;
        Ok(Outcome {
            loss: finite("the loss", &self.loss, self.step)?,
            cross_entropy: value(&self.cross_entropy)?,
            smooth_l1: self.smooth_l1.as_ref().map(value).transpose()?,
            detector_loss,
            predictions: predicted_classes(&self.logits)?,
            detected: self
                .detector_logits
                .as_ref()
                .map(predicted_classes)
                .transpose()?,
        })
    }
}

/// What a step found. Losses are means over the batch.
pub struct Outcome {
    /// The classifier's whole loss.
    pub loss: f64,
    /// Its cross entropy.
    pub cross_entropy: f64,
    /// The distance between detector features (joint).
    pub smooth_l1: Option<f64>,
    /// The detector's cross entropy (joint).
    pub detector_loss: Option<f64>,
    /// The classifier's labels, `B`.
    pub predictions: Vec<u8>,
    /// The detector's: 1 is adversarial (joint).
    pub detected: Option<Vec<u8>>,
}

/// The value of a loss, if it is a number.
fn finite(name: &str, loss: &Tensor, step: u64) -> Result<f64> {
    let value = f64::from(loss.to_scalar::<f32>()?);
    if !value.is_finite() {
        return Err(Error::NonFinite(format!(
            "step {step}: {name} is {value}, nothing was updated"
        )));
    }
    Ok(value)
}

/// The part of this name.
fn part<'a>(parts: &'a BTreeMap<String, Weights>, name: &str) -> Result<&'a Weights> {
    parts
        .get(name)
        .ok_or_else(|| Error::data("checkpoint", format!("no {name}"), "all parts of the run"))
}
