//! The arguments of training: what the command line says comes in, the settings of optimizer, sampler and
//! detector go out.

use cli::normalization::NormalizationArguments;
use std::path::PathBuf;

use base::{Error, Result};
use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};
use cli::{
    arguments::{not_negative, part, positive},
    device::DeviceArguments,
};
use nn::model::{ARCHITECTURES, Architecture, DetectorInput, PAPER_WIDTH};

use crate::{
    augment::Augment,
    config::{Joint, Method, Optimizer, Sampling},
    sampler::{POLICIES, PolicyEntry, Share},
    schedule::{Decay, Schedule},
};

/// `trainer pretrain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trainer pretrain --data cifar-10-batches-bin --out runs/baseline
  trainer pretrain --data cifar10/ --out runs/small --width 16 --limit 2000 --epochs 20 --lr 0.05 --schedule cosine")]
pub struct Pretrain {
    /// Images: CIFAR-10 or CIFAR-100 as published (folder or .tar.gz), or an image folder
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Use only N training images, a multiple of the class count and balanced over the classes, and N/5 for validation
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Channels of the model's stem
    #[arg(long, default_value_t = PAPER_WIDTH, value_name = "N")]
    pub width: usize,
    #[command(flatten)]
    pub normalization: NormalizationArguments,
    #[command(flatten)]
    pub common: Common,
}

/// `trainer train`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trainer train --db cifar10.db --out runs/joint
  trainer train --db cifar10.db --out runs/plain --method adversarial --adv-ratio 0.25..0.75 --bounds fgsm=0.1..0.5")]
pub struct Train {
    /// The adversarial store, made by `generator build`
    #[arg(long, value_name = "DB")]
    pub db: PathBuf,
    /// Training with the detector (joint) or without (adversarial)
    #[arg(long, value_enum, default_value_t = TrainMethod::Joint)]
    pub method: TrainMethod,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub joint: JointArgs,
}

/// The methods that draw from a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrainMethod {
    /// Cross entropy on the draws
    Adversarial,
    /// The same, plus the distance between detector features
    Joint,
}

impl From<TrainMethod> for Method {
    fn from(method: TrainMethod) -> Self {
        match method {
            TrainMethod::Adversarial => Self::Adversarial,
            TrainMethod::Joint => Self::Joint,
        }
    }
}

/// What every training has.
#[derive(Debug, Args)]
pub struct Common {
    /// The run folder; an unfinished run of the same settings in it is resumed
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Start anew in a folder that holds another run
    #[arg(long)]
    pub force: bool,
    /// Architecture of the model that is trained
    #[arg(long, default_value = Architecture::DEFAULT.name, value_name = "NAME", value_parser = architectures())]
    pub arch: String,
    /// Passes over the training images
    #[arg(long, default_value_t = 150, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Images per step
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = positive)]
    pub batch_size: usize,
    /// Base learning rate
    #[arg(long, default_value_t = 0.01, value_name = "RATE", value_parser = not_negative)]
    pub lr: f64,
    /// Momentum of SGD
    #[arg(long, default_value_t = 0.9, value_name = "M", value_parser = not_negative)]
    pub momentum: f64,
    /// Weight decay of SGD
    #[arg(long, default_value_t = 5e-4, value_name = "W", value_parser = not_negative)]
    pub weight_decay: f64,
    /// How the learning rate goes
    #[arg(long, value_enum, default_value_t = ScheduleName::Constant)]
    pub schedule: ScheduleName,
    /// Epochs of linear warm-up
    #[arg(long, default_value_t = 0.0, value_name = "EPOCHS", value_parser = not_negative)]
    pub warmup: f64,
    /// Epochs between two decays (schedule step) [default: 50]
    #[arg(long, value_name = "EPOCHS")]
    pub lr_step: Option<u64>,
    /// Factor of one decay (schedule step) [default: 0.1]
    #[arg(long, value_name = "FACTOR")]
    pub lr_gamma: Option<f64>,
    /// resized (random resized crop, flip), pad (pad-and-crop, flip) or none
    #[arg(long, default_value = "resized", value_name = "NAME")]
    pub augment: Augment,
    /// Seed of every random number
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub device: DeviceArguments,
}

impl Common {
    /// The optimizer's settings.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option of another schedule than the one that was asked for.
    pub fn optimizer(&self) -> Result<Optimizer> {
        if self.schedule != ScheduleName::Step {
            let step = [
                ("--lr-step", self.lr_step.is_some()),
                ("--lr-gamma", self.lr_gamma.is_some()),
            ];
            refuse_given(&step, "--schedule step")?;
        }
        Ok(Optimizer {
            lr: self.lr,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            schedule: Schedule {
                warmup: self.warmup,
                decay: match self.schedule {
                    ScheduleName::Constant => Decay::Constant,
                    ScheduleName::Cosine => Decay::Cosine,
                    ScheduleName::Step => Decay::Step {
                        every: self.lr_step.unwrap_or(50),
                        gamma: self.lr_gamma.unwrap_or(0.1),
                    },
                },
            },
        })
    }
}

/// The schedules by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// Always the base rate
    Constant,
    /// Times --lr-gamma every --lr-step epochs
    Step,
    /// Half a cosine down to 0
    Cosine,
}

/// How variants are drawn.
#[derive(Debug, Args)]
pub struct SamplingArgs {
    /// Adversarial share of the draws: a number, or a range LO..HI drawn anew at each redraw
    #[arg(long, default_value = "0.5", value_name = "R|LO..HI")]
    adv_ratio: Share,
    /// How the attacks share it
    #[arg(long, default_value = "uniform", value_name = "NAME", value_parser = policies())]
    policy: String,
    /// Least and greatest part of single attacks, such as fgsm=0.05..0.3,cw=0.1..0.5
    #[arg(
        long,
        default_value = "",
        value_name = "LIST",
        hide_default_value = true
    )]
    bounds: String,
    /// Redraw the probabilities every N steps instead of every epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    redraw_every: Option<u64>,
    /// How fast probability flows to the attacks the model is worst at (policy adaptive) [default: 1]
    #[arg(long, value_name = "ETA", value_parser = not_negative)]
    eta: Option<f64>,
}

impl SamplingArgs {
    /// The sampler's settings.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option of another policy than the one that was asked for.
    pub fn settings(&self) -> Result<Sampling> {
        if self.policy != "adaptive" {
            refuse_given(&[("--eta", self.eta.is_some())], "--policy adaptive")?;
        }
        Ok(Sampling {
            adv_ratio: self.adv_ratio,
            policy: self.policy.clone(),
            bounds: self.bounds.clone(),
            redraw_every: self.redraw_every,
            eta: self.eta.unwrap_or(1.0),
        })
    }
}

/// How the detector takes part; options of method joint alone.
#[derive(Debug, Args)]
pub struct JointArgs {
    /// The feature maps the detector sees (method joint) [default: full]
    #[arg(long, value_enum, value_name = "MAPS")]
    detector_input: Option<DetectorInput>,
    /// Its Transformer layers, 1 to 12 (method joint) [default: 2]
    #[arg(long, value_name = "N")]
    detector_layers: Option<usize>,
    /// Its base learning rate (method joint) [default: 0.01]
    #[arg(long, value_name = "RATE", value_parser = not_negative)]
    detector_lr: Option<f64>,
    /// Its dropout (method joint) [default: 0.1]
    #[arg(long, value_name = "P", value_parser = part)]
    dropout: Option<f64>,
    /// Weight of the cross entropy (method joint) [default: 1]
    #[arg(long, value_name = "A", value_parser = not_negative)]
    alpha: Option<f64>,
    /// Weight of the Smooth L1 distance between detector features (method joint) [default: 1]
    #[arg(long, value_name = "B", value_parser = not_negative)]
    beta: Option<f64>,
}

impl JointArgs {
    /// The detector's settings; none for a method without it.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option that the method does not have.
    pub fn settings(&self, method: TrainMethod) -> Result<Option<Joint>> {
        if method != TrainMethod::Joint {
            let options = [
                ("--detector-input", self.detector_input.is_some()),
                ("--detector-layers", self.detector_layers.is_some()),
                ("--detector-lr", self.detector_lr.is_some()),
                ("--dropout", self.dropout.is_some()),
                ("--alpha", self.alpha.is_some()),
                ("--beta", self.beta.is_some()),
            ];
            refuse_given(&options, "--method joint")?;
            return Ok(None);
        }
        Ok(Some(Joint {
            alpha: self.alpha.unwrap_or(1.0),
            beta: self.beta.unwrap_or(1.0),
            detector_input: self.detector_input.unwrap_or(DetectorInput::Full),
            detector_layers: self.detector_layers.unwrap_or(2),
            detector_lr: self.detector_lr.unwrap_or(0.01),
            dropout: self.dropout.unwrap_or(0.1),
        }))
    }
}

/// Refuses the first option that was given though it has a meaning only with `wanted`.
fn refuse_given(options: &[(&str, bool)], wanted: &str) -> Result<()> {
    match options.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => Err(Error::Usage(format!(
            "{option}: it has no meaning without {wanted}; leave it out, or add {wanted}"
        ))),
    }
}

/// The names of the architectures.
pub fn architectures() -> PossibleValuesParser {
    ARCHITECTURES
        .iter()
        .map(|row| row.name)
        .collect::<Vec<_>>()
        .into()
}

fn policies() -> PossibleValuesParser {
    let value = |entry: &PolicyEntry| PossibleValue::new(entry.name).help(entry.about);
    POLICIES.iter().map(value).collect::<Vec<_>>().into()
}
