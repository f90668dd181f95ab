//! Settings of a run, as `config.toml` keeps them, with their defaults. A resumed run must have the same settings.

use std::path::{Path, PathBuf};

use base::{Error, Result, files};
use nn::{
    Precision,
    model::{Architecture, DetectorInput},
};
use serde::{Deserialize, Serialize};

use crate::{
    augment::Augment,
    eps::Eps,
    methods::Method,
    sampler::{Options, Share},
    schedule::Schedule,
};

/// Epochs of a run, unless set.
pub const DEFAULT_EPOCHS: u32 = 150;

/// Images per step, unless set.
pub const DEFAULT_BATCH_SIZE: usize = 64;

/// All settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The training method.
    pub method: Method,
    /// The images (`pretrain`).
    pub data: Option<PathBuf>,
    /// The store (other methods).
    pub db: Option<PathBuf>,
    /// Further stores of the same images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_db: Vec<PathBuf>,
    /// The images' or the store's own hash; several stores' joined by `+`.
    pub data_hash: String,
    /// SHA-256 of the weights that training starts from; none for fresh ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Training images kept, per `--limit`.
    pub limit: Option<usize>,
    /// This program's version.
    pub version: String,
    /// Seed of every random number.
    pub seed: u64,
    /// The model's architecture; runs of before there was a choice do not name it.
    #[serde(default = "default_architecture")]
    pub arch: String,
    /// Channels of the model's stem.
    pub width: usize,
    /// Mean of the input normalization, R, G and B; none without normalization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<String>,
    /// Standard deviation of the input normalization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<String>,
    /// Passes over the training images.
    pub epochs: u32,
    /// Images per step.
    pub batch_size: usize,
    /// Augmentation of training images.
    pub augment: Augment,
    /// Arithmetic of the models.
    #[serde(default)]
    pub precision: Precision,
    /// What makes a model the best one so far.
    #[serde(default)]
    pub select: Select,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The sampler; none where every draw is clean.
    pub sampling: Option<Sampling>,
    /// The detector; only in joint runs.
    pub joint: Option<Joint>,
    /// The attack on the model that is trained; only of methods that have one.
    #[serde(default)]
    pub perturbation: Option<Perturbation>,
    /// The attack on `val` images after each epoch; none without it.
    #[serde(default)]
    pub robust_val: Option<RobustVal>,
}

fn default_architecture() -> String {
    Architecture::DEFAULT.name.to_string()
}

/// Stochastic gradient descent, and what is minimized and kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Base learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Nesterov's step.
    #[serde(default)]
    pub nesterov: bool,
    /// Weight decay.
    pub weight_decay: f64,
    /// Largest L2 norm of all gradients together; none for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Part of a label that is spread over all classes, as PyTorch's `label_smoothing`.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Decay of the moving average of the weights that is evaluated and saved; none for the weights themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Its schedule.
    pub schedule: Schedule,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            lr: 0.01,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            clip_norm: None,
            label_smoothing: 0.0,
            ema: None,
            schedule: Schedule::default(),
        }
    }
}

/// The sampler's settings, as on the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Adversarial share of the draws.
    pub adv_ratio: Share,
    /// The policy's name.
    pub policy: String,
    /// Bounds of single attacks.
    pub bounds: String,
    /// Steps between two redraws; redrawn every epoch without it.
    pub redraw_every: Option<u64>,
    /// Learning rate of the adaptive policy.
    pub eta: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            adv_ratio: Share::default(),
            policy: "uniform".into(),
            bounds: String::new(),
            redraw_every: None,
            eta: Options::default().eta,
        }
    }
}

/// The detector's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// Weight of the cross entropy.
    pub alpha: f64,
    /// Weight of the Smooth L1 distance.
    pub beta: f64,
    /// Input feature maps of the detector.
    pub detector_input: DetectorInput,
    /// Its Transformer layers.
    pub detector_layers: usize,
    /// Its optimizer.
    #[serde(default)]
    pub detector_optimizer: DetectorOptimizer,
    /// Its base learning rate.
    pub detector_lr: f64,
    /// Its dropout.
    pub dropout: f64,
    /// How the two terms of the model's loss move its weights.
    #[serde(default)]
    pub updates: Updates,
}

/// The optimizer of the detector.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum DetectorOptimizer {
    /// SGD with the model's momentum and weight decay, as in the paper's code.
    #[default]
    Sgd,
    /// AdamW with the model's weight decay.
    Adamw,
}

/// How the two terms of the joint loss move the model's weights.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Updates {
    /// One step on their sum.
    #[default]
    Joint,
    /// A step on the cross entropy, then one on the distance: the published code's variant.
    TwoStage,
}

impl Default for Joint {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 1.0,
            detector_input: DetectorInput::Full,
            detector_layers: 2,
            detector_optimizer: DetectorOptimizer::default(),
            detector_lr: 0.01,
            dropout: 0.1,
            updates: Updates::default(),
        }
    }
}

/// The attack on the model that is trained: signed-gradient steps in an Linf ball.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perturbation {
    /// Radius of the ball.
    pub eps: Eps,
    /// Steps for each batch.
    pub steps: u32,
    /// Size of a step.
    pub step_size: Eps,
    /// Weight of the divergence between clean and attacked outputs (TRADES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Epochs after which kept perturbations begin anew (ATTA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<u32>,
    /// Size of the adversarial weight perturbation relative to each weight's norm; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awp: Option<f64>,
}

/// The attack on `val` images after each epoch: PGD on the cross entropy from random starts, Linf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobustVal {
    /// Images that are attacked: always the same, all of `val` if it has fewer.
    pub images: usize,
    /// Radius of the ball.
    pub eps: Eps,
    /// Steps.
    pub steps: u32,
}

impl RobustVal {
    /// The attack in a ball of this radius.
    pub fn new(images: usize, eps: Eps) -> Self {
        Self {
            images,
            eps,
            steps: 10,
        }
    }
}

/// What makes a model the best one so far.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Select {
    /// Accuracy on the mixed set of `val`, or on clean images where there is none.
    #[default]
    Mixed,
    /// Accuracy on the clean images of `val`.
    Clean,
    /// Accuracy on `val` under attack.
    Robust,
}

/// Settings that may differ when a run is resumed: they do not change its results.
const FREE_SETTINGS: [&str; 4] = ["data", "db", "more_db", "version"];

/// Settings that may change after a run has become non-finite.
const RATE_SETTINGS: [&str; 3] = ["optimizer.lr", "optimizer.schedule.", "joint.detector_lr"];

impl Config {
    /// The settings of a run of `method` before its data are known.
    pub fn default_of(method: Method) -> Self {
        let perturbation = method.perturbation();
        Self {
            method,
            data: None,
            db: None,
            more_db: Vec::new(),
            data_hash: String::new(),
            init: None,
            limit: None,
            version: env!("CARGO_PKG_VERSION").to_string(),
            seed: 0,
            arch: default_architecture(),
            width: 0,
            mean: None,
            std: None,
            epochs: DEFAULT_EPOCHS,
            batch_size: DEFAULT_BATCH_SIZE,
            augment: method.augment(),
            precision: Precision::default(),
            select: match perturbation {
                Some(_) => Select::Robust,
                None => Select::Mixed,
            },
            optimizer: Optimizer::default(),
            sampling: method.draws_samples().then(Sampling::default),
            joint: method.trains_detector().then(Joint::default),
            robust_val: perturbation
                .is_some()
                .then(|| method.robust_val_or_default()),
            perturbation,
        }
    }

    /// Checks ranges that no type has.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting, its value and its range.
    pub fn check(&self) -> Result<()> {
        let Optimizer {
            lr,
            momentum,
            weight_decay,
            clip_norm,
            label_smoothing,
            ema,
            ..
        } = self.optimizer;
        let (most, below_1) = (f64::MAX, 1.0_f64.next_down());
        let mut ranges = vec![
            ("epochs", f64::from(self.epochs), 1.0, most),
            ("batch_size", self.batch_size as f64, 1.0, most),
            ("optimizer.lr", lr, 0.0, most),
            ("optimizer.momentum", momentum, 0.0, most),
            ("optimizer.weight_decay", weight_decay, 0.0, most),
            ("optimizer.label_smoothing", label_smoothing, 0.0, 1.0),
        ];
        ranges.extend(clip_norm.map(|n| ("optimizer.clip_norm", n, f64::MIN_POSITIVE, most)));
        ranges.extend(ema.map(|decay| ("optimizer.ema", decay, 0.0, below_1)));
        if let Some(joint) = &self.joint {
            ranges.extend([
                ("joint.alpha", joint.alpha, 0.0, most),
                ("joint.beta", joint.beta, 0.0, most),
                ("joint.detector_lr", joint.detector_lr, 0.0, most),
                ("joint.dropout", joint.dropout, 0.0, 1.0),
            ]);
        }
        if let Some(perturbation) = &self.perturbation {
            ranges.push(("perturbation.steps", perturbation.steps.into(), 1.0, most));
            let beta = perturbation.beta;
            ranges.extend(beta.map(|beta| ("perturbation.beta", beta, 0.0, most)));
            let awp = perturbation.awp;
            ranges.extend(awp.map(|awp| ("perturbation.awp", awp, f64::MIN_POSITIVE, most)));
            let reset = perturbation.reset.map(f64::from);
            ranges.extend(reset.map(|reset| ("perturbation.reset", reset, 1.0, most)));
        }
        if let Some(robust) = &self.robust_val {
            ranges.push(("robust_val.images", robust.images as f64, 1.0, most));
            ranges.push(("robust_val.steps", robust.steps.into(), 1.0, most));
        }
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let range = match most {
                    f64::MAX if least == f64::MIN_POSITIVE => "a number above 0".into(),
                    f64::MAX => format!("at least {least}"),
                    _ => format!("{least} to {most}"),
                };
                return Err(Error::Usage(format!(
                    "{name}: found {value}, expected {range}"
                )));
            }
        }
        if self.select == Select::Robust && self.robust_val.is_none() {
            return Err(Error::Usage(
                "--select robust: it needs the accuracy under attack; add --robust-val N".into(),
            ));
        }
        self.optimizer.schedule.check(u64::from(self.epochs))
    }

    /// Writes `config.toml`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|reason| {
            Error::Usage(format!("settings cannot be written as TOML: {reason}"))
        })?;
        files::write_whole(path, text.as_bytes())
    }

    /// Reads `config.toml`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path)?;
        toml::from_str(&text).map_err(|reason| {
            let found = reason.message().lines().next().unwrap_or("no settings");
            Error::data(path.display(), found.to_string(), "a run's settings")
        })
    }

    /// Checks that a run started with `earlier` can be resumed with these settings; with other learning rates
    /// if it has `diverged`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the first setting that differs, with both values.
    pub fn check_same(&self, earlier: &Self, folder: &Path, diverged: bool) -> Result<()> {
        let (ours, theirs) = (flatten(self)?, flatten(earlier)?);
        // The method first: where it differs, so do settings that follow from it.
        let method = "method".to_string();
        for key in std::iter::once(&method)
            .chain(ours.keys())
            .chain(theirs.keys())
        {
            let value = |settings: &toml::Table| match settings.get(key) {
                Some(value) => value.to_string(),
                None => "not set".into(),
            };
            let (now, before) = (value(&ours), value(&theirs));
            let is_rate = || RATE_SETTINGS.iter().any(|rate| key.starts_with(rate));
            let may_differ = FREE_SETTINGS.contains(&key.as_str()) || diverged && is_rate();
            if now != before && !may_differ {
                return Err(Error::Usage(format!(
                    "{}: this run was begun with {key} = {before}, now it is {now}; give another \
                     --out, the same settings, or --force to start anew",
                    folder.display()
                )));
            }
        }
        Ok(())
    }
}

/// The settings by their dotted keys.
fn flatten(config: &Config) -> Result<toml::Table> {
    fn collect(prefix: &str, value: toml::Value, out: &mut toml::Table) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    collect(&format!("{prefix}{dot}{key}"), value, out);
                }
            }
            value => {
                out.insert(prefix.to_string(), value);
            }
        }
    }
    let value = toml::Value::try_from(config)
        .map_err(|reason| Error::Usage(format!("settings cannot be written as TOML: {reason}")))?;
    let mut out = toml::Table::new();
    collect("", value, &mut out);
    Ok(out)
}
