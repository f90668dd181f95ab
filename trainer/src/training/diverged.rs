//! Divergence: `diverged.json`, which permits another learning rate when the run is resumed, and the error with
//! the place and advice.

use std::path::Path;

use base::{Error, Result, files};
use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{self, RunProgress},
    folder::DIVERGED,
};

/// `diverged.json`: where a run became non-finite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The non-finite value, with its step.
    pub what: String,
}

impl Diverged {
    /// Reads it; none if the run has not diverged.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(DIVERGED);
        if !path.exists() {
            return Ok(None);
        }
        let read = serde_json::from_slice(&files::read(&path)?);
        read.map(Some)
            .map_err(|error| Error::data(path.display(), error, "where a run diverged"))
    }

    /// Writes it.
    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(DIVERGED);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::data(path.display(), error, "what JSON can say"))?;
        files::write_whole(&path, &text)
    }
}

impl std::fmt::Display for Diverged {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(
            f,
            "the run diverged in epoch {} ({})",
            self.epoch, self.what
        )
    }
}

/// Adds the epoch and advice to an error about a non-finite value, and writes `diverged.json`; returns other errors
/// unchanged.
pub fn explain(error: Error, folder: &Path, lr: f64, progress: &RunProgress) -> Error {
    let Error::NonFinite(what) = error else {
        return error;
    };
    // A loss is named with its step; evaluations come after the epoch's last step.
    let what = if what.starts_with("step ") {
        what
    } else {
        format!("after step {} of it: {what}", progress.steps)
    };
    let epoch = progress.epochs + 1;
    let diverged = Diverged {
        epoch,
        what: what.clone(),
    };
    if let Err(error) = diverged.write(folder) {
        return error;
    }
    let from = match checkpoint::epochs_done(folder) {
        None => "there is no checkpoint yet, so the run then starts anew".to_string(),
        Some(done) => format!("the run then goes on from the last checkpoint (epoch {done})"),
    };
    Error::NonFinite(format!(
        "{}: epoch {epoch}, {what}; run the same command with a smaller --lr (now {lr}) or with --warmup: {from}",
        folder.display(),
    ))
}
