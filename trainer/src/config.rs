//! A run's settings: resolved from the command line they go into `config.toml`, and a run that is
//! resumed must have the same ones.

use std::path::{Path, PathBuf};

use base::{Error, Result, files};
use nn::{
    Precision,
    model::{Architecture, DetectorInput},
};
use serde::{Deserialize, Serialize};

use crate::{augment::Augment, sampler::Share, schedule::Schedule};

/// How a model is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// On clean images: the baseline.
    Pretrain,
    /// On draws from a store.
    Adversarial,
    /// The same, together with a detector.
    Joint,
}

impl Method {
    /// As files and tables spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Adversarial => "adversarial",
            Self::Joint => "joint",
        }
    }
}

/// Everything that makes a run what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// How the model is trained.
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
    /// What the model subtracts from R, G and B; none without normalization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<String>,
    /// What it divides them by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<String>,
    /// Passes over the training images.
    pub epochs: u32,
    /// Images per step.
    pub batch_size: usize,
    /// What happens to training images.
    pub augment: Augment,
    /// What models are computed with.
    #[serde(default)]
    pub precision: Precision,
    /// How weights move.
    pub optimizer: Optimizer,
    /// How variants are drawn; none where every draw is clean.
    pub sampling: Option<Sampling>,
    /// How the detector takes part; only in joint runs.
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
    /// How the rate goes.
    pub schedule: Schedule,
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
    /// Steps between two redraws; an epoch without it.
    pub redraw_every: Option<u64>,
    /// Speed of the adaptive policy.
    pub eta: f64,
}

/// The detector's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joint {
    /// Weight of the cross entropy.
    pub alpha: f64,
    /// Weight of the Smooth L1 distance.
    pub beta: f64,
    /// The maps the detector sees.
    pub detector_input: DetectorInput,
    /// Its layers.
    pub detector_layers: usize,
    /// Its base learning rate.
    pub detector_lr: f64,
    /// Its dropout.
    pub dropout: f64,
}

/// Settings that may differ when a run is resumed: where things lie, not what they are.
const PLACES: [&str; 3] = ["data", "db", "version"];

/// Settings that may change after a run has become non-finite.
const RATES: [&str; 3] = ["optimizer.lr", "optimizer.schedule.", "joint.detector_lr"];

impl Config {
    /// Writes `config.toml`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self)
            .map_err(|reason| Error::Usage(format!("these settings cannot be kept: {reason}")))?;
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

    /// Checks that a run begun with `earlier` can go on with these; with other learning rates if it has
    /// `diverged`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the first setting that differs, with both values.
    pub fn check_same(&self, earlier: &Self, folder: &Path, diverged: bool) -> Result<()> {
        let (ours, theirs) = (flat(self)?, flat(earlier)?);
        // Where the method differs, the rest follows from it.
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
            let is_rate = || RATES.iter().any(|rate| key.starts_with(rate));
            let may_differ = PLACES.contains(&key.as_str()) || diverged && is_rate();
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

/// The settings with dotted keys.
fn flat(config: &Config) -> Result<toml::Table> {
    fn walk(prefix: &str, value: toml::Value, out: &mut toml::Table) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    walk(&format!("{prefix}{dot}{key}"), value, out);
                }
            }
            value => {
                out.insert(prefix.to_string(), value);
            }
        }
    }
    let value = toml::Value::try_from(config)
        .map_err(|reason| Error::Usage(format!("these settings cannot be kept: {reason}")))?;
    let mut out = toml::Table::new();
    walk("", value, &mut out);
    Ok(out)
}
