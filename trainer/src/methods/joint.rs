//! Joint training of a classifier and a detector (the paper's section 3, and its published code). In each step the
//! detector is trained to tell adversarial from clean images by the features of the frozen pretrained model; then the
//! target model is trained on its labels and to have, through the frozen detector, the pretrained model's features.

use std::collections::BTreeMap;

use base::{Error, Result, random};
use candle_core::Tensor;
use nn::model::{Classifier, Detector, Dropout, Network, Weights};

use super::{ClassifierStep, DetectorContext, MethodInputs, Step, StepOutput, step::part};
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

    /// Dropout of a step's first (0) or second (1) forward pass of the detector.
    fn dropout(&self, step: u64, pass: u64) -> Option<Dropout> {
        Some(Dropout {
            rate: self.settings.dropout as f32,
            key: random::key(self.seed, "dropout", &[step, pass]),
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
    fn step(&mut self, batch: &TrainBatch, lr_factor: f64) -> Result<StepOutput> {
        let Joint {
            alpha,
            beta,
            detector_lr,
            updates,
            ..
        } = self.settings;
        let maps = self.pretrained.features(&batch.images)?.maps;
        let detection = self.detector.forward(&maps, self.dropout(batch.step, 0))?;
        let detector_loss = nn::cross_entropy(&detection.logits, &batch.detector_targets()?)?;
        self.optimizer
            .step(&detector_loss, detector_lr * lr_factor)?;

        let (features, cross_entropy) = self.target.forward_loss(batch)?;
        let detection_feature = detection.feature.detach();
        let distance_of = |maps: &[Tensor], frozen: &Detector, dropout| -> Result<Tensor> {
            let of_target = frozen.forward(maps, dropout)?;
            Ok(nn::smooth_l1(&of_target.feature, &detection_feature)?)
        };
        let dropout = self.dropout(batch.step, 1);
        let (loss, distance) = match updates {
            Updates::Joint => {
                let distance = distance_of(&features.maps, &self.frozen, dropout)?;
                let loss = (weighted(&cross_entropy, alpha)? + weighted(&distance, beta)?)?;
                self.target.step_on(&loss, lr_factor)?;
                (loss, distance)
            }
            Updates::TwoStage => {
                let first = weighted(&cross_entropy, alpha)?;
                self.target.step_on(&first, lr_factor)?;
                // The cross entropy without weight: every parameter has a gradient, and so momentum and decay.
                let (moved, unweighted) = self.target.forward_loss(batch)?;
                let distance = distance_of(&moved.maps, &self.frozen, dropout)?;
                let second = (weighted(&unweighted, 0.0)? + weighted(&distance, beta)?)?;
                self.target.step_on(&second, lr_factor)?;
                ((first.detach() + second.detach())?, distance)
            }
        };
        self.target.average(batch)?;
        Ok(StepOutput {
            step: batch.step,
            loss: loss.detach(),
            cross_entropy: cross_entropy.detach(),
            smooth_l1: Some(distance.detach()),
            detector_loss: Some(detector_loss.detach()),
            logits: features.logits.detach(),
            detector_logits: Some(detection.logits.detach()),
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
