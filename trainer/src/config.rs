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
pub struct Config {
    /// The training method.
    pub method: Method,
    /// The images (`pretrain`).
    pub data: Option<PathBuf>,
    /// The store (other methods).
    pub db: Option<PathBuf>,
    /// The images' or the store's own hash.
    pub data_hash: String,
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
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The sampler; none where every draw is clean.
    pub sampling: Option<Sampling>,
    /// The detector; only in joint runs.
    pub joint: Option<Joint>,
}

fn default_architecture() -> String {
    Architecture::DEFAULT.name.to_string()
}

/// Stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    /// Base learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Its schedule.
    pub schedule: Schedule,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            lr: 0.01,
            momentum: 0.9,
            weight_decay: 5e-4,
            schedule: Schedule::default(),
        }
    }
}

/// The sampler's settings, as on the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
pub struct Joint {
    /// Weight of the cross entropy.
    pub alpha: f64,
    /// Weight of the Smooth L1 distance.
    pub beta: f64,
    /// Input feature maps of the detector.
    pub detector_input: DetectorInput,
    /// Its Transformer layers.
    pub detector_layers: usize,
    /// Its base learning rate.
    pub detector_lr: f64,
    /// Its dropout.
    pub dropout: f64,
}

impl Default for Joint {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 1.0,
            detector_input: DetectorInput::Full,
            detector_layers: 2,
            detector_lr: 0.01,
            dropout: 0.1,
        }
    }
}

/// Settings that may differ when a run is resumed: they do not change its results.
const FREE_SETTINGS: [&str; 3] = ["data", "db", "version"];

/// Settings that may change after a run has become non-finite.
const RATE_SETTINGS: [&str; 3] = ["optimizer.lr", "optimizer.schedule.", "joint.detector_lr"];

impl Config {
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
