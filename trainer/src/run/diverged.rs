//! Runs that become non-finite: the mark in the run folder that lets the learning rate change, and the error
//! that says where it happened and what to do.

use std::path::Path;

use base::{Error, Result, files};
use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::{self, Progress},
    folder::DIVERGED,
};

/// `diverged.json`: where a run became non-finite. Its learning rates may change then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    /// The epoch, from 1.
    pub epoch: u32,
    /// What was found, with its step.
    pub what: String,
}

impl Diverged {
    /// What stands in the folder; none if the run has not diverged.
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

/// The same error; of a value that is not finite, with the epoch and what to do. The folder is marked then, so
/// that the advice can be followed.
pub fn explain(error: Error, folder: &Path, lr: f64, at: &Progress) -> Error {
    let Error::NonFinite(what) = error else {
        return error;
    };
    // A loss is told with its step; what is measured comes after the epoch's last one.
    let what = match what.starts_with("step ") {
        true => what,
        false => format!("after step {} of it: {what}", at.steps),
    };
    let epoch = at.epochs + 1;
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
