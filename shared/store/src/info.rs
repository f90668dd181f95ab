//! Description of a store, from its tables, for printing or as JSON.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    meta::Meta,
    reader::Store,
    rows::{AttackRow, ModelRow},
    summary::SummaryRow,
};
use base::{Error, Result};
use data::Split;

/// The description of a store, whose images are not checked ([`super::verify`] does that).
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// The path as it was given.
    pub path: PathBuf,
    /// The file's length.
    pub bytes: u64,
    /// The table `meta`.
    pub meta: Meta,
    /// The surrogate.
    pub model: ModelInfo,
    /// The attacks with their parameters.
    pub attacks: Vec<AttackInfo>,
    /// Images of each split.
    pub splits: Vec<SplitInfo>,
    /// The view `attack_summary`.
    pub summary: Vec<SummaryRow>,
}

/// The surrogate without its weights.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "see ModelRow")]
pub struct ModelInfo {
    pub name: String,
    pub sha256: String,
    pub config: serde_json::Value,
}

/// An attack, its parameters as JSON.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "see AttackRow")]
pub struct AttackInfo {
    pub id: i64,
    pub name: String,
    pub params: serde_json::Value,
}

/// Images of a split.
#[derive(Clone, Debug, Serialize)]
pub struct SplitInfo {
    /// `train`, `val` or `test`.
    pub split: String,
    /// Images in the file.
    pub images: u64,
    /// Images of the finished store.
    pub expected: u64,
    /// Share of the clean images that the surrogate classifies correctly; none without images.
    pub clean_accuracy: Option<f64>,
}

/// Describes the store at `path`, which may be unfinished.
///
/// # Errors
/// As [`Store::open_any`].
pub fn info(path: &Path) -> Result<Info> {
    let store = Store::open_any(path)?;
    let meta = store.meta();
    let counts = store.counts()?;
    let attack = |attack: &AttackRow| {
        let place = format!("attack {}, params", attack.id);
        Ok(AttackInfo {
            id: attack.id,
            name: attack.name.clone(),
            params: parse_json(&store, &place, &attack.params)?,
        })
    };
    let ModelRow {
        name,
        sha256,
        config,
        ..
    } = meta.spec.model.clone();
    Ok(Info {
        path: path.to_path_buf(),
        bytes: store.file.len()?,
        model: ModelInfo {
            name,
            sha256,
            config: parse_json(&store, "model, config", &config)?,
        },
        attacks: store.attacks().iter().map(attack).collect::<Result<_>>()?,
        splits: Split::ALL
            .map(|split| {
                let (images, correct) = counts[split as usize];
                SplitInfo {
                    split: split.to_string(),
                    images,
                    expected: meta.images_of(split),
                    clean_accuracy: (images > 0).then(|| correct as f64 / images as f64),
                }
            })
            .into(),
        summary: store.summary()?,
        meta: meta.clone(),
    })
}

fn parse_json(store: &Store, place: &str, text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text)
        .map_err(|reason| Error::invalid(store.file.part(place), format!("no JSON: {reason}")))
}
