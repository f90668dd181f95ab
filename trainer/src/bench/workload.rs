//! Workloads of the benchmarks by name.

use attacks::{AttackConfig, AttackKind, Preset};
use base::{Error, Result};
use candle_core::{Tensor, Var};
use nn::model::Detector;
use robustness::{Batch, Norm, Settings, Target, ThreatModel, loss::Loss, pgd};

use super::inputs::BenchInputs;
use crate::{
    config::{Config, Joint, Optimizer},
    methods::{ClassifierStep, JointStep, Method, MethodInputs, Step},
};

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Logits, in evaluation mode.
    Forward,
    /// Gradient of the cross entropy with respect to the pixels: the step of most attacks.
    InputGradient,
    /// A training step of the baseline.
    TrainStep,
    /// A joint training step of model and detector.
    JointStep,
    /// A training step of PGD adversarial training with its ten attack steps.
    PgdAtStep,
    /// A whole attack.
    Attack(AttackKind),
    /// PGD of 20 steps as `trainer robust` runs it.
    RobustPgd,
}

/// Runs one batch; an attack returns its mean number of steps per image.
pub type Iteration<'a> = Box<dyn FnMut() -> Result<Option<f64>> + 'a>;

impl Workload {
    /// All workloads, in the order of their results.
    pub fn all() -> impl Iterator<Item = Self> {
        let first = [
            Self::Forward,
            Self::InputGradient,
            Self::TrainStep,
            Self::JointStep,
            Self::PgdAtStep,
        ];
        let attacks = AttackKind::ALL.map(Self::Attack);
        first.into_iter().chain(attacks).chain([Self::RobustPgd])
    }

    /// The name on the command line and in JSON.
    pub fn name(self) -> String {
        match self {
            Self::Forward => "forward".into(),
            Self::InputGradient => "input_gradient".into(),
            Self::TrainStep => "train_step".into(),
            Self::JointStep => "joint_step".into(),
            Self::PgdAtStep => "pgd_at_step".into(),
            Self::Attack(kind) => format!("attack_{kind}"),
            Self::RobustPgd => "robust_pgd".into(),
        }
    }

    /// The workload on these inputs.
    pub fn prepare(self, inputs: &BenchInputs) -> Result<Iteration<'_>> {
        match self {
            Self::Forward => Ok(Box::new(|| {
                inputs.model.logits(&inputs.images)?;
                Ok(None)
            })),
            Self::InputGradient => {
                let targets = inputs.batch().targets()?;
                Ok(Box::new(move || input_gradient(inputs, &targets)))
            }
            Self::TrainStep => {
                let step = ClassifierStep::new(inputs.trainable()?, &Optimizer::default())?;
                training(inputs, Box::new(step))
            }
            Self::JointStep => training(inputs, Box::new(joint_step(inputs)?)),
            Self::PgdAtStep => training(inputs, pgd_at_step(inputs)?),
            Self::Attack(kind) => {
                let attack = AttackConfig::preset(Preset::Standard).build(kind);
                let batch = inputs.attack_batch()?;
                Ok(Box::new(move || {
                    let steps = attack.perturb(inputs.model.as_ref(), &batch)?.steps;
                    let sum: f64 = steps.iter().copied().map(f64::from).sum();
                    Ok(Some(sum / steps.len() as f64))
                }))
            }
            Self::RobustPgd => {
                let batch = inputs.evaluation_batch()?;
                Ok(Box::new(move || robust_pgd(inputs, &batch)))
            }
        }
    }
}

fn input_gradient(inputs: &BenchInputs, targets: &Tensor) -> Result<Option<f64>> {
    let pixels = Var::from_tensor(&inputs.images)?;
    let logits = inputs.model.logits(&pixels)?;
    let loss = (nn::cross_entropy(&logits, targets)? * inputs.labels.len() as f64)?;
    loss.backward()?.remove(&pixels);
    Ok(None)
}

/// In a ball so small that no image leaves the batch early: all take all steps, as in other libraries.
fn robust_pgd(inputs: &BenchInputs, batch: &Batch) -> Result<Option<f64>> {
    let threat = ThreatModel {
        norm: Norm::Linf,
        eps: 1e-4,
    };
    let never = || Ok(());
    let target = Target::new(inputs.model.as_ref(), &inputs.device, &never);
    let loss = Loss::CrossEntropy;
    let settings = Settings::default();
    pgd::on_classifier(&target, batch, &threat, &settings, loss, "bench")?;
    Ok(None)
}

/// Steps on the same batch, each with its own random numbers.
fn training(inputs: &BenchInputs, mut step: Box<dyn Step>) -> Result<Iteration<'_>> {
    let mut batch = inputs.batch();
    Ok(Box::new(move || {
        step.step(&batch, 1.0)?;
        batch.step += 1;
        Ok(None)
    }))
}

/// A step of `pgd-at` with its default settings.
fn pgd_at_step(inputs: &BenchInputs) -> Result<Box<dyn Step>> {
    let Some(method) = Method::find("pgd-at") else {
        return Err(Error::Usage("there is no method pgd-at".into()));
    };
    method.build(MethodInputs {
        config: &Config::default_of(method),
        target: inputs.trainable()?,
        train_images: inputs.labels.len(),
        pretrained: None,
        device: &inputs.device,
    })
}

/// A joint step with the default settings of `trainer train`.
fn joint_step(inputs: &BenchInputs) -> Result<JointStep> {
    let settings = Joint::default();
    let detector = Detector::init(
        settings.detector_input,
        inputs.description.width,
        settings.detector_layers,
        0,
        &inputs.device,
    )?;
    let target = inputs.trainable()?;
    let optimizer = Optimizer::default();
    JointStep::new(target.eval()?, target, detector, &optimizer, settings, 0)
}
