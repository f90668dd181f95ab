//! Contents of a run folder, as the report shows them.

use std::path::{Path, PathBuf};

use base::{Error, Result, files, log};
use toml::{Table, Value};

use super::evaluation::Evaluation;
use crate::{
    folder::{BEST, CONFIG, METRICS, REPORT, ROBUST, RunState},
    metrics::{self, EpochMetrics},
    robust::summary::Robustness,
};

/// What a run folder holds.
pub struct RunRecord {
    /// The folder's name.
    pub name: String,
    /// `config.toml`.
    pub config: Table,
    /// `metrics.jsonl`; empty until the first epoch is done.
    pub epochs: Vec<EpochMetrics>,
    /// `report.json`; none until the run is evaluated.
    pub evaluation: Option<Evaluation>,
    /// `robust/robust.json`; none until the model was attacked.
    pub robustness: Option<Robustness>,
    /// Whether the run is whole.
    pub state: RunState,
}

impl RunRecord {
    /// Reads a run folder.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file and line that is wrong, [`Error::Io`] for a file that
    /// cannot be read; `config.toml` must be there, for without it the folder is no run.
    pub fn read(folder: &Path) -> Result<Self> {
        let optional = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let config = config(folder)?;
        let state = RunState::of(folder)?;
        if let RunState::Damaged(reason) = &state {
            log::warning(format_args!("{}: {reason}", folder.display()));
        }
        Ok(Self {
            name: name(folder),
            config,
            epochs: optional(METRICS).map_or(Ok(Vec::new()), |path| metrics::read(&path))?,
            evaluation: optional(REPORT).map(|path| evaluation(&path)).transpose()?,
            robustness: robustness(folder)?,
            state,
        })
    }

    /// How the model was trained, as far as the files say.
    pub fn method(&self) -> &str {
        let evaluated = self.evaluation.as_ref().map(|e| e.model.method.as_str());
        let configured = self.config.get("method").and_then(Value::as_str);
        configured.or(evaluated).unwrap_or("method unknown")
    }

    /// The epochs that the run is meant to take, where the configuration says so.
    pub fn planned(&self) -> Option<u32> {
        u32::try_from(self.config.get("epochs")?.as_integer()?).ok()
    }

    /// The last epoch that is done; 0 before the first.
    pub fn done(&self) -> u32 {
        self.epochs.last().map_or(0, |last| last.epoch)
    }

    /// The last epoch that was the best so far.
    pub fn best(&self) -> Option<&EpochMetrics> {
        self.epochs.iter().rev().find(|metrics| metrics.best)
    }

    /// Whether epochs are still to come.
    pub fn unfinished(&self) -> bool {
        self.planned().is_some_and(|planned| self.done() < planned)
    }

    /// Epochs done, and what keeps the run from being whole, in words.
    pub fn progress(&self) -> String {
        let done = self.done();
        let epochs = match self.planned() {
            Some(planned) if done < planned => format!("unfinished, {done} of {planned} epochs"),
            _ if self.evaluation.is_none() => format!("{done} epochs, not evaluated"),
            _ => format!("{done} epochs"),
        };
        match &self.state {
            RunState::FinishedWithoutCheckpoints => epochs + ", checkpoints removed",
            RunState::Damaged(reason) => format!("{epochs}, damaged: {reason}"),
            _ => epochs,
        }
    }

    /// A setting of `config.toml` as text.
    pub fn setting(&self, key: &str) -> Option<String> {
        self.config.get(key).map(setting_text)
    }
}

/// The evaluation under attacks on the model itself, unless it is of other weights than the folder's: of a run before
/// `--force`, or of earlier epochs.
fn robustness(folder: &Path) -> Result<Option<Robustness>> {
    let (path, weights) = (folder.join(ROBUST), folder.join(BEST));
    if !path.exists() {
        return Ok(None);
    }
    let found = Robustness::read(&path)?;
    if weights.exists() && store::sha256(&files::read(&weights)?) != found.model_sha256 {
        log::warning(format_args!(
            "{}: left out, since it is of other weights than {}; attack the model again",
            path.display(),
            weights.display()
        ));
        return Ok(None);
    }
    Ok(Some(found))
}

/// A value of `config.toml`, strings without quotes.
pub fn setting_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), String::from)
}

/// Path of the store that a run was trained on; none for a run without a store.
///
/// # Errors
/// As `RunRecord::read`, for `config.toml`.
pub fn database(folder: &Path) -> Result<Option<PathBuf>> {
    let config = config(folder)?;
    Ok(config.get("db").and_then(Value::as_str).map(PathBuf::from))
}

fn name(folder: &Path) -> String {
    // Resolved, since "." has no name.
    let resolved = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    match resolved.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => folder.display().to_string(),
    }
}

fn config(folder: &Path) -> Result<Table> {
    let path = folder.join(CONFIG);
    let text = files::read_text(&path)?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| 1 + before.matches('\n').count());
        Error::data(
            format!("{}:{line}", path.display()),
            error.message(),
            "TOML",
        )
    })
}

fn evaluation(path: &Path) -> Result<Evaluation> {
    serde_json::from_str(&files::read_text(path)?).map_err(|error| {
        Error::data(
            format!("{}:{}", path.display(), error.line()),
            error,
            "an evaluation as JSON",
        )
    })
}
