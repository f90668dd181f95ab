//! Training step: forward pass, loss and update on one batch, behind one trait for all methods.

use std::collections::BTreeMap;

use base::{Error, Result};
use candle_core::Tensor;
use nn::{
    Readback, ReadbackQueue,
    model::{Classifier, Detector, Network, Weights, predicted_classes},
};

use super::atta::Perturbations;
use crate::batch::TrainBatch;

/// Models and optimizers of a training method.
pub trait Step {
    /// Trains on a batch with the base learning rates times `lr_factor`. A non-finite loss updates nothing;
    /// [`StepOutput::read`] reports it.
    fn step(&mut self, batch: &TrainBatch, lr_factor: f64) -> Result<StepOutput>;

    /// The model that is trained.
    fn model(&self) -> &dyn Network;

    /// The model that is evaluated and saved: the same, or the average of its weights.
    fn evaluated(&self) -> &dyn Network {
        self.model()
    }

    /// The detector that is trained, with the model whose features it reads.
    fn detector(&self) -> Option<DetectorContext<'_>>;

    /// All weights and optimizer states of a checkpoint, by file name; shared tensors, not copies.
    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>>;

    /// Restores what [`Step::parts`] returned.
    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()>;

    /// The perturbation of each training image that a checkpoint keeps, too (ATTA).
    fn perturbations(&self) -> Option<&Perturbations> {
        None
    }

    /// The same, to be restored.
    fn perturbations_mut(&mut self) -> Option<&mut Perturbations> {
        None
    }
}

/// A detector and the frozen model whose features it reads.
#[derive(Clone, Copy)]
pub struct DetectorContext<'a> {
    /// Classifies images as clean or adversarial.
    pub detector: &'a Detector,
    /// The model whose feature maps are its input.
    pub pretrained: &'a dyn Classifier,
}

/// Losses and logits of a step, as tensors on the device.
pub struct StepOutput {
    /// Steps before this one in the whole run.
    pub step: u64,
    /// The classifier's whole loss.
    pub loss: Tensor,
    /// Its cross entropy.
    pub cross_entropy: Tensor,
    /// Smooth L1 distance between detector features (joint).
    pub smooth_l1: Option<Tensor>,
    /// The detector's cross entropy (joint).
    pub detector_loss: Option<Tensor>,
    /// The classifier's, `[B,classes]`.
    pub logits: Tensor,
    /// The detector's, `[B,2]` (joint).
    pub detector_logits: Option<Tensor>,
}

impl StepOutput {
    /// Starts copying the values to the host, to be read while the next step is under way.
    pub fn start_reading(mut self, queue: &ReadbackQueue) -> Result<PendingOutput> {
        let tensors = self.tensors_mut().into_iter().map(|tensor| tensor.clone());
        Ok(PendingOutput {
            readback: queue.start(tensors.collect())?,
            output: self,
        })
    }

    fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        let mut tensors = vec![&mut self.loss, &mut self.cross_entropy, &mut self.logits];
        tensors.extend(&mut self.smooth_l1);
        tensors.extend(&mut self.detector_loss);
        tensors.extend(&mut self.detector_logits);
        tensors
    }

    /// The values on the host.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a loss that is not finite.
    pub fn read(&self) -> Result<StepMetrics> {
        let value = |loss: &Tensor| Ok::<_, Error>(f64::from(loss.to_scalar::<f32>()?));
        let detector_loss = self.detector_loss.as_ref();
        let detector_loss = detector_loss
            .map(|loss| finite("the detector's loss", loss, self.step))
            .transpose()?;
        Ok(StepMetrics {
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

/// The output of a step on its way to the host.
pub struct PendingOutput {
    output: StepOutput,
    readback: Readback,
}

impl PendingOutput {
    /// The values on the host; waits for this step alone, not for those that began after it.
    ///
    /// # Errors
    /// As [`StepOutput::read`].
    pub fn read(mut self) -> Result<StepMetrics> {
        let on_host = self.readback.finish()?;
        for (tensor, on_host) in self.output.tensors_mut().into_iter().zip(on_host) {
            *tensor = on_host;
        }
        self.output.read()
    }
}

/// Losses (means over the batch) and predictions of a step.
pub struct StepMetrics {
    /// The classifier's whole loss.
    pub loss: f64,
    /// Its cross entropy.
    pub cross_entropy: f64,
    /// Smooth L1 distance between detector features (joint).
    pub smooth_l1: Option<f64>,
    /// The detector's cross entropy (joint).
    pub detector_loss: Option<f64>,
    /// The classifier's classes, `B`.
    pub predictions: Vec<u8>,
    /// The detector's: 1 is adversarial (joint).
    pub detected: Option<Vec<u8>>,
}

/// The value of a loss, which must be finite.
fn finite(name: &str, loss: &Tensor, step: u64) -> Result<f64> {
    let value = f64::from(loss.to_scalar::<f32>()?);
    if !value.is_finite() {
        return Err(Error::NonFinite(format!(
            "step {step}: {name} is {value}, nothing was updated"
        )));
    }
    Ok(value)
}

/// A part of a checkpoint.
pub(super) fn part<'a>(parts: &'a BTreeMap<String, Weights>, name: &str) -> Result<&'a Weights> {
    parts
        .get(name)
        .ok_or_else(|| Error::data("checkpoint", format!("no {name}"), "all parts of the run"))
}
