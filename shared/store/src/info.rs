//! `generator info`: a path comes in; what the store says of itself goes out, for people (`Display`)
//! and for programs (`Serialize`).

use std::{fmt, path::Path, path::PathBuf};

use serde::Serialize;

use super::{
    meta::Meta,
    reader::{Store, SummaryRow},
    rows::{AttackRow, SPLITS, split_name},
};
use base::{Error, Result, error::printable};

/// What a store says of itself; its images are not checked (`verify` does that).
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Where it is.
    pub path: PathBuf,
    /// The file's length.
    pub bytes: u64,
    /// The table `meta`.
    pub meta: Meta,
    /// The surrogate.
    pub model: ModelInfo,
    /// The attacks with their parameters.
    pub attacks: Vec<AttackInfo>,
    /// What is there of each split.
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

/// What is there of a split.
#[derive(Clone, Debug, Serialize)]
pub struct SplitInfo {
    /// `train`, `val` or `test`.
    pub split: String,
    /// Images.
    pub images: u64,
    /// Images of the finished store.
    pub expected: u64,
    /// Share of the clean images that the surrogate classifies correctly; none without images.
    pub clean_accuracy: Option<f64>,
}

/// Reads what `path` says of itself; an unfinished store will do.
///
/// # Errors
/// As [`Store::open_any`].
pub fn info(path: &Path) -> Result<Info> {
    let store = Store::open_any(path)?;
    let model = store.model_without_weights()?;
    let counts = store.counts()?;
    let attack = |attack: &AttackRow| {
        Ok(AttackInfo {
            id: attack.id,
            name: attack.name.clone(),
            params: json(
                &store,
                &format!("attack {}, params", attack.id),
                &attack.params,
            )?,
        })
    };
    Ok(Info {
        path: path.to_path_buf(),
        bytes: store.bytes()?,
        model: ModelInfo {
            config: json(&store, "model, config", &model.config)?,
            name: model.name,
            sha256: model.sha256,
        },
        attacks: store.attacks().iter().map(attack).collect::<Result<_>>()?,
        splits: SPLITS
            .map(|split| {
                let (images, correct) = counts[split as usize];
                SplitInfo {
                    split: split_name(split).into(),
                    images,
                    expected: store.meta().images_of(split),
                    clean_accuracy: (images > 0).then(|| correct as f64 / images as f64),
                }
            })
            .into(),
        summary: store.summary()?,
        meta: store.meta().clone(),
    })
}

fn json(store: &Store, place: &str, text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|e| Error::data(store.part(place), e, "JSON"))
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let meta = &self.meta;
        let limit = meta.limit.map_or("none".into(), |limit| limit.to_string());
        let state = match (&meta.content_hash, meta.complete) {
            (Some(hash), true) => format!("complete, content hash {hash}"),
            _ => "unfinished: run the same build again to resume it".into(),
        };
        for (what, value) in [
            ("store", self.path.display().to_string()),
            ("size", format!("{:.1} MB", self.bytes as f64 / 1e6)),
            ("state", state),
            (
                "dataset",
                format!("{} ({})", meta.dataset, meta.source_hash),
            ),
            ("classes", meta.classes.join(", ")),
            ("preset", meta.preset.clone()),
            ("seed", meta.seed.to_string()),
            ("limit", limit),
            ("shard", meta.shard.clone()),
            (
                "created",
                format!("{} by generator {}", meta.created, meta.generator_version),
            ),
            ("device", meta.device.clone()),
            (
                "surrogate",
                format!("{} {}", self.model.name, self.model.config),
            ),
            ("", format!("sha256 {}", self.model.sha256)),
            ("licence", meta.license.clone()),
        ] {
            // Escaped, for a file may hold what would confuse a terminal.
            writeln!(f, "{what:<10} {}", printable(&value))?;
        }
        writeln!(
            f,
            "\n{:<6} {:>8} {:>8} {:>15}",
            "split", "images", "of", "clean accuracy"
        )?;
        for row in &self.splits {
            let accuracy = share(row.clean_accuracy);
            let (split, images, expected) = (&row.split, row.images, row.expected);
            writeln!(f, "{split:<6} {images:>8} {expected:>8} {accuracy:>15}")?;
        }
        writeln!(f, "\n{:<10} parameters", "attack")?;
        for attack in &self.attacks {
            let name = printable(&attack.name);
            writeln!(f, "{name:<10} {}", printable(&attack.params))?;
        }
        write!(
            f,
            "\n{:<6} {:<10} {:>8} {:>9} {:>19} {:>8} {:>9} {:>9}",
            "split",
            "attack",
            "samples",
            "unchanged",
            "surrogate accuracy",
            "success",
            "mean l2",
            "mean linf"
        )?;
        for row in &self.summary {
            let (split, attack) = (&row.split, printable(&row.attack));
            let (accuracy, l2, linf) = (row.surrogate_accuracy, row.mean_l2, row.mean_linf);
            let (samples, unchanged) = (row.count, row.unchanged);
            write!(f, "\n{split:<6} {attack:<10} {samples:>8} {unchanged:>9} ")?;
            let success = share(row.success);
            write!(f, "{accuracy:>19.4} {success:>8} {l2:>9.4} {linf:>9.4}")?;
        }
        let partial = meta.partial();
        for warning in meta.warnings.iter().chain(&partial) {
            write!(f, "\nwarning: {}", printable(warning))?;
        }
        Ok(())
    }
}

/// A share of something that there may be nothing of.
fn share(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{share:.4}"))
}
