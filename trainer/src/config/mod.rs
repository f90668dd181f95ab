//! Settings of a run, as `config.toml` keeps them, with their defaults. A resumed run must have the same settings.

mod attacking;
mod check;
mod learning;

use std::path::{Path, PathBuf};

use base::{Error, Result, files};
use nn::{Precision, model::Architecture};
use serde::{Deserialize, Serialize};

pub use self::{
    attacking::{Perturbation, RobustVal, Select},
    learning::{DetectorOptimizer, Joint, Optimizer, Sampling, Updates},
};
use crate::{augment::Augment, methods::Method};

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
