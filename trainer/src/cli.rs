//! The command line: arguments come in, checked settings go to the command that was named.

use std::path::PathBuf;

use clap::{
    Args, CommandFactory, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};
use shared::{
    Result,
    arguments::{Parsed, not_negative, part, positive},
    cifar10::Split,
    device::DeviceArguments,
    log::LogArguments,
    manual::Manual,
    model::{DetectorInput, PAPER_WIDTH},
};

use crate::{
    augment::Augment,
    bench,
    config::{Joint, Method, Optimizer, Sampling},
    evaluate, run,
    sampler::{Entry, POLICIES, Share},
    schedule::{Decay, Schedule},
    show,
};

/// Trains a ResNet34 and an adversarial-example detector on a database of precomputed attacks.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true, after_help = shared::program::EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train the baseline on clean pictures: the net that is attacked afterwards
    Pretrain(Pretrain),
    /// Train a robust net on draws from a store
    Train(Train),
    /// Measure a net on a store: per attack, on the mixed set, and its detector
    Eval(Eval),
    /// Write one self-contained HTML page about one or more runs
    Report(Report),
    /// Measure how many pictures per second nets and attacks manage on this machine
    Bench(bench::Bench),
    #[command(flatten)]
    Manual(Manual),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<()> {
        self.log.choose();
        match self.command {
            Command::Pretrain(args) => run::pretrain(&args),
            Command::Train(args) => run::train(&args),
            Command::Eval(args) => evaluate::command(&args),
            Command::Report(args) => show::report(&args.runs, &args.out, args.force),
            Command::Bench(args) => bench::command(&args),
            Command::Manual(manual) => manual.write(Self::command()),
        }
    }
}

/// `trainer pretrain`.
#[derive(Debug, Args)]
pub struct Pretrain {
    /// Pictures: a folder of data_batch_*.bin, the official .tar.gz, or an image folder
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Use only N training pictures, balanced over the classes, and N/5 for validation
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Channels of the net's stem
    #[arg(long, default_value_t = PAPER_WIDTH, value_name = "N")]
    pub width: usize,
    #[command(flatten)]
    pub common: Common,
}

/// `trainer train`.
#[derive(Debug, Args)]
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
    /// Passes over the training pictures
    #[arg(long, default_value_t = 150, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Pictures per step
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
    /// Epochs between two decays (schedule step)
    #[arg(long, default_value_t = 50, value_name = "EPOCHS")]
    pub lr_step: u64,
    /// Factor of one decay (schedule step)
    #[arg(long, default_value_t = 0.1, value_name = "FACTOR")]
    pub lr_gamma: f64,
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
    pub fn optimizer(&self) -> Optimizer {
        Optimizer {
            lr: self.lr,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            schedule: Schedule {
                warmup: self.warmup,
                decay: match self.schedule {
                    ScheduleName::Constant => Decay::Constant,
                    ScheduleName::Cosine => Decay::Cosine,
                    ScheduleName::Step => Decay::Step {
                        every: self.lr_step,
                        gamma: self.lr_gamma,
                    },
                },
            },
        }
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
    /// How fast probability flows to the attacks the net is worst at (policy adaptive)
    #[arg(long, default_value_t = 1.0, value_name = "ETA", value_parser = not_negative)]
    eta: f64,
}

impl SamplingArgs {
    /// The sampler's settings.
    pub fn settings(&self) -> Sampling {
        Sampling {
            adv_ratio: self.adv_ratio,
            policy: self.policy.clone(),
            bounds: self.bounds.clone(),
            redraw_every: self.redraw_every,
            eta: self.eta,
        }
    }
}

/// How the detector takes part (method joint).
#[derive(Debug, Args)]
pub struct JointArgs {
    /// The feature maps the detector sees
    #[arg(long, value_enum, default_value_t = DetectorInput::Full)]
    detector_input: DetectorInput,
    /// Its Transformer layers, 1 to 12
    #[arg(long, default_value_t = 2, value_name = "N")]
    detector_layers: usize,
    /// Its base learning rate
    #[arg(long, default_value_t = 0.01, value_name = "RATE", value_parser = not_negative)]
    detector_lr: f64,
    /// Its dropout
    #[arg(long, default_value_t = 0.1, value_name = "P", value_parser = part)]
    dropout: f64,
    /// Weight of the cross entropy
    #[arg(long, default_value_t = 1.0, value_name = "A", value_parser = not_negative)]
    alpha: f64,
    /// Weight of the Smooth L1 distance between detector features
    #[arg(long, default_value_t = 1.0, value_name = "B", value_parser = not_negative)]
    beta: f64,
}

impl JointArgs {
    /// The detector's settings.
    pub fn settings(&self) -> Joint {
        Joint {
            alpha: self.alpha,
            beta: self.beta,
            detector_input: self.detector_input,
            detector_layers: self.detector_layers,
            detector_lr: self.detector_lr,
            dropout: self.dropout,
        }
    }
}

/// `trainer eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// The adversarial store
    #[arg(long, value_name = "DB")]
    pub db: PathBuf,
    /// The classifier's weights
    #[arg(long, value_name = "W")]
    pub model: PathBuf,
    /// The detector's weights [default: detector.safetensors beside the model, if there]
    #[arg(long, value_name = "W")]
    pub detector: Option<PathBuf>,
    /// Only this split [default: val and test]
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    pub split: Option<Split>,
    /// Adversarial share of the mixed set
    #[arg(long, default_value_t = 0.5, value_name = "R", value_parser = part)]
    pub adv_ratio: f64,
    /// Pictures per batch
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = positive)]
    pub batch_size: usize,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub device: DeviceArguments,
}

/// `trainer report`.
#[derive(Debug, Args)]
struct Report {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
    /// Replace a file that is no report
    #[arg(long)]
    force: bool,
}

fn policies() -> PossibleValuesParser {
    let value = |entry: &Entry| PossibleValue::new(entry.name).help(entry.about);
    POLICIES.iter().map(value).collect::<Vec<_>>().into()
}

fn split(text: &str) -> Parsed<Split> {
    match text {
        "val" => Ok(Split::Val),
        "test" => Ok(Split::Test),
        _ => Err("a net is measured on val or test".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
