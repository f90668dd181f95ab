//! Options of every training, and the settings of a run they resolve to.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use base::{Error, Result, files};
use clap::{Args, ValueEnum};
use cli::{
    arguments::{Parsed, choice, not_negative, part, positive},
    device::DeviceArguments,
};
use nn::{
    ComputeDevice,
    model::{Architecture, Loaded, Metadata, ModelDescription, Network, Normalization},
};

use super::{architectures, refuse_given, set};
use crate::{
    augment::Augment,
    config::{Config, Optimizer, RobustVal, Select},
    eps::Eps,
    recipe::Recipe,
    schedule::{DEFAULT_STEP_EPOCHS, DEFAULT_STEP_GAMMA, Decay},
};

/// Options of every training. Those that are left out have the recipe's value, or else the default.
#[derive(Debug, Args)]
pub struct TrainingOptions {
    /// Run folder to write; an unfinished run in it with the same settings is resumed
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Replace another run in the folder
    #[arg(long)]
    pub force: bool,
    /// Recipe: a TOML file of settings, such as recipes/strong.toml or a run's config.toml; options win over it
    #[arg(long, value_name = "F.toml")]
    pub config: Option<PathBuf>,
    /// Start from these weights instead of fresh ones
    #[arg(long, value_name = "W.safetensors")]
    pub init: Option<PathBuf>,
    /// Architecture of the trained model [default: resnet34]
    #[arg(long, value_name = "NAME", value_parser = architectures())]
    arch: Option<String>,
    /// Passes over the training images [default: 150]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Images per step [default: 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch_size: Option<usize>,
    /// Base learning rate [default: 0.01]
    #[arg(long, value_name = "RATE", value_parser = not_negative)]
    lr: Option<f64>,
    /// Momentum of SGD [default: 0.9]
    #[arg(long, value_name = "M", value_parser = not_negative)]
    momentum: Option<f64>,
    /// Nesterov's step of SGD [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    nesterov: Option<bool>,
    /// Weight decay [default: 0.0005]
    #[arg(long, value_name = "W", value_parser = not_negative)]
    weight_decay: Option<f64>,
    /// Scale gradients down to this L2 norm; 0 for no bound [default: 0]
    #[arg(long, value_name = "NORM", value_parser = not_negative)]
    clip_norm: Option<f64>,
    /// Part of each label that is spread over all classes [default: 0]
    #[arg(long, value_name = "P", value_parser = part)]
    label_smoothing: Option<f64>,
    /// Evaluate and save a moving average of the weights of this decay, such as 0.999; 0 for none [default: 0]
    #[arg(long, value_name = "DECAY", value_parser = below_one)]
    ema: Option<f64>,
    /// Learning-rate schedule [default: constant]
    #[arg(long, value_enum)]
    schedule: Option<ScheduleName>,
    /// Epochs of linear warm-up [default: 0]
    #[arg(long, value_name = "EPOCHS", value_parser = not_negative)]
    warmup: Option<f64>,
    /// Epochs of the schedule that earlier runs have done, whose weights --init gives: learning rate, order and crops of
    /// the images go on from there [default: 0]
    #[arg(long, value_name = "EPOCHS")]
    schedule_start: Option<u64>,
    /// Epochs of the whole schedule [default: it ends with the run]
    #[arg(long, value_name = "EPOCHS")]
    schedule_epochs: Option<u64>,
    /// Epochs between two decays (schedule step) [default: 50]
    #[arg(long, value_name = "EPOCHS")]
    lr_step: Option<u64>,
    /// Factor of each decay (schedule step) [default: 0.1]
    #[arg(long, value_name = "FACTOR")]
    lr_gamma: Option<f64>,
    /// Augmentation: resized (random resized crop, flip), pad (padded crop, flip) or none [default: resized; pad for
    /// methods that attack the model they train]
    #[arg(long, value_name = "NAME")]
    augment: Option<Augment>,
    /// What makes a model the best one: accuracy on the mixed set of val (clean images where there is none), on clean
    /// images, or under attack [default: mixed; robust for methods that attack]
    #[arg(long, value_name = "WHAT", value_parser = choice::<Select>())]
    select: Option<Select>,
    /// Attack N images of val after each epoch (PGD-10); 0 for none [default: 0; 512 for methods that attack]
    #[arg(long, value_name = "N")]
    robust_val: Option<usize>,
    /// Radius of the Linf ball of all attacks during training, such as 8/255 [default: 8/255]
    #[arg(long, value_name = "EPS", allow_hyphen_values = true)]
    eps: Option<Eps>,
    /// Seed of every random number [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    device: DeviceArguments,
}

impl TrainingOptions {
    /// The recipe that these options change.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn recipe(&self) -> Result<Recipe> {
        Recipe::read(self.config.as_deref())
    }

    /// Opens the device, for the precision of a run.
    ///
    /// # Errors
    /// As [`DeviceArguments::open`].
    pub fn open_device(&self, config: &Config) -> Result<ComputeDevice> {
        self.device.or_precision(config.precision).open()
    }

    /// Settings of a run: the recipe's with these options' changes, without those of its data and of single
    /// methods, which the caller fills in.
    ///
    /// # Errors
    /// [`Error::Usage`] for options that contradict each other.
    pub fn config(&self, mut base: Config, normalization: Option<Normalization>) -> Result<Config> {
        set(&mut base.seed, &self.seed);
        set(&mut base.arch, &self.arch);
        set(&mut base.epochs, &self.epochs);
        set(&mut base.batch_size, &self.batch_size);
        set(&mut base.augment, &self.augment);
        set(&mut base.precision, &self.device.precision);
        base.mean = normalization.map(|n| n.mean.to_string());
        base.std = normalization.map(|n| n.std.to_string());
        self.change_optimizer(&mut base.optimizer)?;
        if let Some(images) = self.robust_val {
            let eps = base.method.perturbation_or_default().eps;
            let attack = base
                .robust_val
                .take()
                .unwrap_or_else(|| RobustVal::new(images, eps));
            base.robust_val = (images > 0).then_some(RobustVal { images, ..attack });
            if images == 0 && base.select == Select::Robust {
                base.select = Select::default();
            }
        }
        set(&mut base.select, &self.select);
        if let Some(eps) = &self.eps {
            if base.perturbation.is_none() && base.robust_val.is_none() {
                refuse_given(
                    &[("--eps", true)],
                    "--robust-val N or a method that attacks",
                )?;
            }
            base.perturbation
                .iter_mut()
                .for_each(|p| p.eps = eps.clone());
            base.robust_val.iter_mut().for_each(|r| r.eps = eps.clone());
        }
        base.init = self.init.as_deref().map(sha256_of).transpose()?;
        Ok(base)
    }

    /// # Errors
    /// [`Error::Usage`] for an option of another schedule.
    fn change_optimizer(&self, optimizer: &mut Optimizer) -> Result<()> {
        set(&mut optimizer.lr, &self.lr);
        set(&mut optimizer.momentum, &self.momentum);
        set(&mut optimizer.nesterov, &self.nesterov);
        set(&mut optimizer.weight_decay, &self.weight_decay);
        set(&mut optimizer.label_smoothing, &self.label_smoothing);
        let unless_0 = |value: f64| (value > 0.0).then_some(value);
        set(&mut optimizer.clip_norm, &self.clip_norm.map(unless_0));
        set(&mut optimizer.ema, &self.ema.map(unless_0));
        let schedule = &mut optimizer.schedule;
        set(&mut schedule.warmup, &self.warmup);
        set(&mut schedule.start, &self.schedule_start);
        set(&mut schedule.epochs, &self.schedule_epochs.map(Some));
        let step = |every, gamma| Decay::Step { every, gamma };
        let decay = self.schedule.map(|name| match name {
            ScheduleName::Constant => Decay::Constant,
            ScheduleName::Cosine => Decay::Cosine,
            ScheduleName::Step => step(DEFAULT_STEP_EPOCHS, DEFAULT_STEP_GAMMA),
        });
        // A step decay of the recipe keeps its numbers.
        if !matches!(
            (schedule.decay, self.schedule),
            (Decay::Step { .. }, Some(ScheduleName::Step))
        ) {
            set(&mut schedule.decay, &decay);
        }
        if let Decay::Step { every, gamma } = &mut schedule.decay {
            set(every, &self.lr_step);
            set(gamma, &self.lr_gamma);
            return Ok(());
        }
        let given = [
            ("--lr-step", self.lr_step.is_some()),
            ("--lr-gamma", self.lr_gamma.is_some()),
        ];
        refuse_given(&given, "--schedule step")
    }

    /// The initial model: fresh, its weights drawn from `seed`, or the weights of `--init`.
    ///
    /// # Errors
    /// [`Error::Data`] for weights of another architecture, size or normalization.
    pub fn initial_model(
        &self,
        config: &Config,
        seed: u64,
        classes: usize,
        normalization: Option<Normalization>,
        device: &ComputeDevice,
    ) -> Result<(Box<dyn Network>, Metadata)> {
        let architecture = Architecture::named(&config.arch)?;
        let mut model = architecture.init(config.width, classes, seed, device)?;
        model.set_normalization(normalization)?;
        let Some(path) = &self.init else {
            return Ok((model, Metadata::new()));
        };
        let loaded = Loaded::read(path, None, device)?;
        let (found, expected) = (loaded.network.describe(), model.describe());
        let differs = |what: &str, found: &dyn Display, expected: &dyn Display| {
            let what = format!("{}: {what}", path.display());
            Err(Error::data(what, found, expected))
        };
        if found != expected {
            let classes = |d: ModelDescription| format!("{d} and {} classes", d.classes);
            return differs("model", &classes(found), &classes(expected));
        }
        if loaded.network.normalization() != normalization {
            let text = |n: Option<Normalization>| match n {
                None => "none".to_string(),
                Some(n) => format!("mean {}, std {}", n.mean, n.std),
            };
            let found = text(loaded.network.normalization());
            return differs("normalization", &found, &text(normalization));
        }
        model.weights().set(loaded.network.weights())?;
        Ok((model, loaded.metadata))
    }
}

/// A number from 0, less than 1.
fn below_one(text: &str) -> Parsed<f64> {
    match part(text)? {
        1.0 => Err("a number less than 1".into()),
        number => Ok(number),
    }
}

/// SHA-256 of a file.
fn sha256_of(path: &Path) -> Result<String> {
    Ok(store::sha256(&files::read(path)?))
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
