//! What is measured: a name and inputs come in, something that can be run again and again goes out.

use attacks::{AttackConfig, AttackKind, Preset};
use base::Result;
use candle_core::{Tensor, Var};
use nn::model::{Detector, DetectorInput};

use super::inputs::Inputs;
use crate::{
    config::{Joint, Optimizer},
    schedule::{Decay, Schedule},
    step::{Classification, JointStep, Losses, Step},
};

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Logits, in evaluation mode.
    Forward,
    /// The gradient of the cross entropy in the pixels: the step of most attacks.
    InputGradient,
    /// A training step of the baseline.
    TrainStep,
    /// A training step together with the detector.
    JointStep,
    /// A whole attack.
    Attack(AttackKind),
}

/// What is run: one batch at each call. An attack says how many steps each image took on average.
pub type Run<'a> = Box<dyn FnMut() -> Result<Option<f64>> + 'a>;

impl Work {
    /// All, in the order they are measured in.
    pub fn all() -> impl Iterator<Item = Self> {
        let first = [
            Self::Forward,
            Self::InputGradient,
            Self::TrainStep,
            Self::JointStep,
        ];
        first.into_iter().chain(AttackKind::ALL.map(Self::Attack))
    }

    /// The name on the command line and in JSON.
    pub fn name(self) -> String {
        match self {
            Self::Forward => "forward".into(),
            Self::InputGradient => "input_gradient".into(),
            Self::TrainStep => "train_step".into(),
            Self::JointStep => "joint_step".into(),
            Self::Attack(kind) => format!("attack_{kind}"),
        }
    }

    /// Makes what is run on these inputs.
    pub fn prepare(self, inputs: &Inputs) -> Result<Run<'_>> {
        match self {
            Self::Forward => Ok(Box::new(|| {
                inputs.net.logits(&inputs.images)?;
                Ok(None)
            })),
            Self::InputGradient => {
                let targets = inputs.batch().targets()?;
                Ok(Box::new(move || input_gradient(inputs, &targets)))
            }
            Self::TrainStep => training(
                inputs,
                Classification::new(inputs.learner()?, &optimizer())?,
            ),
            Self::JointStep => training(inputs, joint(inputs)?),
            Self::Attack(kind) => {
                let attack = AttackConfig::preset(Preset::Standard).build(kind);
                let batch = inputs.attack_batch()?;
                Ok(Box::new(move || {
                    let steps = attack.perturb(inputs.net.as_ref(), &batch)?.steps;
                    let sum: f64 = steps.iter().copied().map(f64::from).sum();
                    Ok(Some(sum / steps.len() as f64))
                }))
            }
        }
    }
}

fn input_gradient(inputs: &Inputs, targets: &Tensor) -> Result<Option<f64>> {
    let pixels = Var::from_tensor(&inputs.images)?;
    let logits = inputs.net.logits(&pixels)?;
    let loss = (nn::cross_entropy(&logits, targets)? * inputs.labels.len() as f64)?;
    loss.backward()?.remove(&pixels);
    Ok(None)
}

/// Steps on the same batch, each with its own random numbers.
fn training(inputs: &Inputs, mut step: impl Step + 'static) -> Result<Run<'_>> {
    let mut batch = inputs.batch();
    Ok(Box::new(move || {
        step.step(&batch, 1.0)?;
        batch.step += 1;
        Ok(None)
    }))
}

/// The defaults of `trainer train`.
fn optimizer() -> Optimizer {
    Optimizer {
        lr: 0.01,
        momentum: 0.9,
        weight_decay: 5e-4,
        schedule: Schedule {
            warmup: 0.0,
            decay: Decay::Constant,
        },
    }
}

/// Likewise.
fn joint(inputs: &Inputs) -> Result<JointStep> {
    let joint = Joint {
        alpha: 1.0,
        beta: 1.0,
        detector_input: DetectorInput::Full,
        detector_layers: 2,
        detector_lr: 0.01,
        dropout: 0.1,
    };
    let detector = Detector::init(
        joint.detector_input,
        inputs.description.width,
        joint.detector_layers,
        0,
        &inputs.device,
    )?;
    let losses = Losses { joint, seed: 0 };
    let learner = inputs.learner()?;
    JointStep::new(learner.eval()?, learner, detector, &optimizer(), losses)
}
