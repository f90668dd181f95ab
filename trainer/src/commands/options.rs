//! Options that commands share, and the settings of a run they resolve to. Defaults are those of
//! [`crate::config`].

use std::path::PathBuf;

use base::{Error, Result};
use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};
use cli::{
    arguments::{Parsed, not_negative, part, positive},
    device::DeviceArguments,
};
use data::Split;
use nn::model::{ARCHITECTURES, Architecture, DetectorInput, Normalization};

use crate::{
    augment::Augment,
    config::{Config, DEFAULT_BATCH_SIZE, DEFAULT_EPOCHS, Joint, Optimizer, Sampling},
    methods::Method,
    sampler::{POLICIES, PolicyEntry, Share},
    schedule::{DEFAULT_STEP_EPOCHS, DEFAULT_STEP_GAMMA, Decay, Schedule},
};

/// Options of every training.
#[derive(Debug, Args)]
pub struct TrainingOptions {
    /// Run folder to write; an unfinished run in it with the same settings is resumed
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Replace another run in the folder
    #[arg(long)]
    pub force: bool,
    /// Architecture of the trained model
    #[arg(long, default_value = Architecture::DEFAULT.name, value_name = "NAME", value_parser = architectures())]
    pub arch: String,
    /// Passes over the training images
    #[arg(long, default_value_t = DEFAULT_EPOCHS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Images per step
    #[arg(long, default_value_t = DEFAULT_BATCH_SIZE, value_name = "N", value_parser = positive)]
    pub batch_size: usize,
    /// Base learning rate
    #[arg(long, default_value_t = Optimizer::default().lr, value_name = "RATE", value_parser = not_negative)]
    pub lr: f64,
    /// Momentum of SGD
    #[arg(long, default_value_t = Optimizer::default().momentum, value_name = "M", value_parser = not_negative)]
    pub momentum: f64,
    /// Weight decay of SGD
    #[arg(long, default_value_t = Optimizer::default().weight_decay, value_name = "W", value_parser = not_negative)]
    pub weight_decay: f64,
    /// Learning-rate schedule
    #[arg(long, value_enum, default_value_t = ScheduleName::Constant)]
    pub schedule: ScheduleName,
    /// Epochs of linear warm-up
    #[arg(long, default_value_t = Schedule::default().warmup, value_name = "EPOCHS", value_parser = not_negative)]
    pub warmup: f64,
    /// Epochs between two decays (schedule step) [default: 50]
    #[arg(long, value_name = "EPOCHS")]
    pub lr_step: Option<u64>,
    /// Factor of each decay (schedule step) [default: 0.1]
    #[arg(long, value_name = "FACTOR")]
    pub lr_gamma: Option<f64>,
    /// Augmentation: resized (random resized crop, flip), pad (padded crop, flip) or none
    #[arg(long, default_value_t = Augment::default(), value_name = "NAME")]
    pub augment: Augment,
    /// Seed of every random number
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub device: DeviceArguments,
}

impl TrainingOptions {
    /// Settings of a run, without those of its data and of single methods, which the caller fills in.
    ///
    /// # Errors
    /// [`Error::Usage`] for options that contradict each other.
    pub fn config(&self, method: Method, normalization: Option<Normalization>) -> Result<Config> {
        let optimizer = self.optimizer()?;
        optimizer.schedule.check(u64::from(self.epochs))?;
        Ok(Config {
            method,
            data: None,
            db: None,
            data_hash: String::new(),
            limit: None,
            version: env!("CARGO_PKG_VERSION").to_string(),
            seed: self.seed,
            arch: self.arch.clone(),
            width: 0,
            mean: normalization.map(|n| n.mean.to_string()),
            std: normalization.map(|n| n.std.to_string()),
            epochs: self.epochs,
            batch_size: self.batch_size,
            augment: self.augment,
            precision: self.device.precision,
            optimizer,
            sampling: None,
            joint: None,
        })
    }

    /// The optimizer's settings.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option of another schedule.
    fn optimizer(&self) -> Result<Optimizer> {
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
                        every: self.lr_step.unwrap_or(DEFAULT_STEP_EPOCHS),
                        gamma: self.lr_gamma.unwrap_or(DEFAULT_STEP_GAMMA),
                    },
                },
            },
        })
    }
}

/// Names of the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// The base rate throughout
    Constant,
    /// Times --lr-gamma every --lr-step epochs
    Step,
    /// Half a cosine down to 0
    Cosine,
}

/// Options of the sampler.
#[derive(Debug, Args)]
pub struct SamplingOptions {
    /// Adversarial share of the draws: a number, or a range LO..HI drawn anew at each redraw
    #[arg(long, default_value_t = Share::default(), value_name = "R|LO..HI")]
    adv_ratio: Share,
    /// Policy of the attacks' probabilities
    #[arg(long, default_value = Sampling::default().policy, value_name = "NAME", value_parser = policies())]
    policy: String,
    /// Bounds on the part of single attacks, such as fgsm=0.05..0.3,cw=0.1..0.5
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
    /// Learning rate of the probabilities (policy adaptive) [default: 1]
    #[arg(long, value_name = "ETA", value_parser = not_negative)]
    eta: Option<f64>,
}

impl SamplingOptions {
    /// The sampler's settings.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option of another policy.
    pub fn settings(&self) -> Result<Sampling> {
        if self.policy != "adaptive" {
            refuse_given(&[("--eta", self.eta.is_some())], "--policy adaptive")?;
        }
        Ok(Sampling {
            adv_ratio: self.adv_ratio,
            policy: self.policy.clone(),
            bounds: self.bounds.clone(),
            redraw_every: self.redraw_every,
            eta: self.eta.unwrap_or(Sampling::default().eta),
        })
    }
}

/// Options of the detector, for method joint only.
#[derive(Debug, Args)]
pub struct JointOptions {
    /// Input feature maps of the detector (method joint) [default: full]
    #[arg(long, value_enum, value_name = "MAPS")]
    detector_input: Option<DetectorInput>,
    /// Transformer layers of the detector, 1 to 12 (method joint) [default: 2]
    #[arg(long, value_name = "N")]
    detector_layers: Option<usize>,
    /// Base learning rate of the detector (method joint) [default: 0.01]
    #[arg(long, value_name = "RATE", value_parser = not_negative)]
    detector_lr: Option<f64>,
    /// Dropout of the detector (method joint) [default: 0.1]
    #[arg(long, value_name = "P", value_parser = part)]
    dropout: Option<f64>,
    /// Weight of the cross entropy (method joint) [default: 1]
    #[arg(long, value_name = "A", value_parser = not_negative)]
    alpha: Option<f64>,
    /// Weight of the Smooth L1 distance between detector features (method joint) [default: 1]
    #[arg(long, value_name = "B", value_parser = not_negative)]
    beta: Option<f64>,
}

impl JointOptions {
    /// The detector's settings; none for a method without it.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option that the method does not have.
    pub fn settings(&self, method: Method) -> Result<Option<Joint>> {
        if !method.trains_detector() {
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
        let default = Joint::default();
        Ok(Some(Joint {
            alpha: self.alpha.unwrap_or(default.alpha),
            beta: self.beta.unwrap_or(default.beta),
            detector_input: self.detector_input.unwrap_or(default.detector_input),
            detector_layers: self.detector_layers.unwrap_or(default.detector_layers),
            detector_lr: self.detector_lr.unwrap_or(default.detector_lr),
            dropout: self.dropout.unwrap_or(default.dropout),
        }))
    }
}

/// Refuses the first given option; all of them have a meaning only with `wanted`.
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

/// A split that a model is evaluated on.
pub fn evaluated_split(text: &str) -> Parsed<Split> {
    match text {
        "val" => Ok(Split::Val),
        "test" => Ok(Split::Test),
        _ => Err("a model is evaluated on val or test".into()),
    }
}
