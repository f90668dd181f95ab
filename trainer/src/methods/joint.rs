//! Joint training of a classifier and a detector (the paper's section 3, and its published code). In each step the
//! detector is trained to tell adversarial from clean images by the features of the frozen pretrained model; then the
//! target model is trained on its labels and to have, through the frozen detector, the pretrained model's features.

use std::collections::BTreeMap;

use base::{Error, Result, random};
use candle_core::Tensor;
use nn::model::{Classifier, Detector, Dropout, Network, Weights};

use super::{
    ClassifierStep, DetectorContext, MethodInputs, Step, StepOutput, adversarial_step::Losses,
    step::part,
};
use crate::{
    batch::TrainBatch,
    config::{DetectorOptimizer, Joint, Optimizer, Updates},
    optimizer::{AdamW, ParameterOptimizer, Sgd},
};

const DETECTOR: &str = "detector";
const MOMENTUM: &str = "detector-momentum";

/// Pretrained model, target model and detector, with the optimizers of the latter two.
pub struct JointStep {
    pretrained: Box<dyn Classifier>,
    target: ClassifierStep,
    detector: Detector,
    /// Shares the detector's memory, as constants: gradients pass through it to the target alone.
    frozen: Detector,
    optimizer: Box<dyn ParameterOptimizer>,
    settings: Joint,
    /// Key of the dropout masks.
    seed: u64,
}

/// The row's constructor.
pub fn build(inputs: MethodInputs) -> Result<Box<dyn Step>> {
    let config = inputs.config;
    let (Some(settings), Some(pretrained)) = (config.joint, inputs.pretrained) else {
        let reason = "method joint needs a pretrained model and the detector's settings";
        return Err(Error::Usage(reason.into()));
    };
    let detector = Detector::init(
        settings.detector_input,
        config.width,
        settings.detector_layers,
        config.seed,
        inputs.device,
    )?;
    let (pretrained, seed) = (pretrained.eval()?, config.seed);
    let optimizer = &config.optimizer;
    let step = JointStep::new(
        pretrained,
        inputs.target,
        detector,
        optimizer,
        settings,
        seed,
    )?;
    Ok(Box::new(step))
}

impl JointStep {
    /// Trains `target` and `detector`.
    pub fn new(
        pretrained: Box<dyn Classifier>,
        target: Box<dyn Network>,
        detector: Detector,
        optimizer: &Optimizer,
        settings: Joint,
        seed: u64,
    ) -> Result<Self> {
        let variables = detector.weights().variables()?;
        Ok(Self {
            pretrained,
            target: ClassifierStep::new(target, optimizer)?,
            frozen: Detector::new("the detector", detector.weights().frozen())?,
            optimizer: match settings.detector_optimizer {
                DetectorOptimizer::Sgd => Box::new(Sgd::new(
                    variables,
                    &Optimizer {
                        momentum: optimizer.momentum,
                        weight_decay: optimizer.weight_decay,
                        ..Optimizer::default()
                    },
                )?),
                DetectorOptimizer::Adamw => {
                    Box::new(AdamW::new(variables, optimizer.weight_decay)?)
                }
            },
            detector,
            settings,
            seed,
        })
    }

    /// The detector's step, on the pretrained model's feature maps.
    fn train_detector(&mut self, batch: &TrainBatch, lr: f64) -> Result<DetectorOutput> {
        let maps = self.pretrained.features(&batch.images)?.maps;
        let detection = self
            .detector
            .forward(&maps, self.dropout(batch.schedule_step, 0))?;
        let loss = nn::cross_entropy(&detection.logits, &batch.detector_targets()?)?;
        self.optimizer.step(&loss, lr)?;
        Ok(DetectorOutput {
            loss: loss.detach(),
            feature: detection.feature.detach(),
            logits: detection.logits.detach(),
        })
    }

    /// Distance of the target model's features to those of the detector's first pass.
    fn distance(
        &self,
        maps: &[Tensor],
        batch: &TrainBatch,
        detection: &DetectorOutput,
    ) -> Result<Tensor> {
        let of_target = self
            .frozen
            .forward(maps, self.dropout(batch.schedule_step, 1))?;
        Ok(nn::smooth_l1(&of_target.feature, &detection.feature)?)
    }

    /// One update of the target model, by the weighted sum of both losses. Returns them and the distance, without
    /// their graphs.
    fn train_target(
        &mut self,
        batch: &TrainBatch,
        detection: &DetectorOutput,
        lr_factor: f64,
    ) -> Result<(Losses, Tensor)> {
        let Joint { alpha, beta, .. } = self.settings;
        let (features, cross_entropy) = self.target.forward_loss(batch)?;
        let distance = self.distance(&features.maps, batch, detection)?;
        let whole = (weighted(&cross_entropy, alpha)? + weighted(&distance, beta)?)?;
        self.target.step_on(&whole, lr_factor)?;
        let losses = Losses {
            whole,
            cross_entropy,
            logits: features.logits,
        };
        Ok((losses.detach(), distance.detach()))
    }

    /// The same in two updates: by the cross entropy, then by the distance.
    fn train_target_twice(
        &mut self,
        batch: &TrainBatch,
        detection: &DetectorOutput,
        lr_factor: f64,
    ) -> Result<(Losses, Tensor)> {
        let Joint { alpha, beta, .. } = self.settings;
        let first = {
            let (features, cross_entropy) = self.target.forward_loss(batch)?;
            let whole = weighted(&cross_entropy, alpha)?;
            self.target.step_on(&whole, lr_factor)?;
            let losses = Losses {
                whole,
                cross_entropy,
                logits: features.logits,
            };
            losses.detach()
        };
        // The cross entropy without weight: every parameter has a gradient, and so momentum and decay.
        let (features, unweighted) = self.target.forward_loss(batch)?;
        let distance = self.distance(&features.maps, batch, detection)?;
        let second = (weighted(&unweighted, 0.0)? + weighted(&distance, beta)?)?;
        self.target.step_on(&second, lr_factor)?;
        let losses = Losses {
            whole: (&first.whole + second.detach())?,
            ..first
        };
        Ok((losses, distance.detach()))
    }

    /// Dropout of a step's first (0) or second (1) forward pass of the detector.
    fn dropout(&self, step: u64, pass: u64) -> Option<Dropout> {
        Some(Dropout {
            rate: self.settings.dropout as f32,
            key: random::key(self.seed, "dropout", &[step, pass]),
        })
    }
}

/// What a step keeps of the detector's first forward pass, without its graph: that would hold the memory of all its
/// activations during the second pass.
struct DetectorOutput {
    loss: Tensor,
    feature: Tensor,
    logits: Tensor,
}

/// `weight * loss`. A weight of 0 gives gradients of 0, as in PyTorch, where candle gives none.
fn weighted(loss: &Tensor, weight: f64) -> Result<Tensor> {
    Ok(match weight {
        0.0 => (loss * loss.zeros_like()?.detach())?,
        _ => (loss * weight)?,
    })
}

impl Step for JointStep {
    fn step(&mut self, batch: &TrainBatch, lr_factor: f64) -> Result<StepOutput> {
        let settings = self.settings;
        let detection = self.train_detector(batch, settings.detector_lr * lr_factor)?;
        let (losses, distance) = match settings.updates {
            Updates::Joint => self.train_target(batch, &detection, lr_factor)?,
            Updates::TwoStage => self.train_target_twice(batch, &detection, lr_factor)?,
        };
        self.target.average(batch)?;
        Ok(StepOutput {
            step: batch.step,
            loss: losses.whole,
            cross_entropy: losses.cross_entropy,
            smooth_l1: Some(distance),
            detector_loss: Some(detection.loss),
            logits: losses.logits,
            detector_logits: Some(detection.logits),
        })
    }

    fn model(&self) -> &dyn Network {
        self.target.model()
    }

    fn evaluated(&self) -> &dyn Network {
        self.target.evaluated()
    }

    fn detector(&self) -> Option<DetectorContext<'_>> {
        Some(DetectorContext {
            detector: &self.detector,
            pretrained: self.pretrained.as_ref(),
        })
    }

    fn parts(&self) -> Result<BTreeMap<&'static str, Weights>> {
        let mut parts = self.target.parts()?;
        parts.insert(DETECTOR, self.detector.weights().clone());
        parts.insert(MOMENTUM, self.optimizer.state()?.into_iter().collect());
        Ok(parts)
    }

    fn restore(&mut self, parts: &BTreeMap<String, Weights>) -> Result<()> {
        self.target.restore(parts)?;
        self.detector.weights().set(part(parts, DETECTOR)?)?;
        self.optimizer.restore(part(parts, MOMENTUM)?.tensors())
    }
}
