//! Run folders: the names of their files, and their state (new, unfinished, finished, finished without
//! checkpoints, damaged), which all commands take from here.

use std::{fs, path::Path};

use base::{Error, Result, files, lock};
use serde::Deserialize;

use crate::{checkpoint, methods::Method, metrics};

/// The settings.
pub const CONFIG: &str = "config.toml";
/// A line per epoch.
pub const METRICS: &str = "metrics.jsonl";
/// The best classifier.
pub const BEST: &str = "best.safetensors";
/// The detector beside it (joint runs).
pub const DETECTOR: &str = "detector.safetensors";
/// The final evaluation.
pub const REPORT: &str = "report.json";
/// The evaluation of its robustness.
pub const ROBUST: &str = "robust/robust.json";
/// The perturbations of method atta as a store.
pub const ATTA_STORE: &str = "atta.db";
/// Where the run became non-finite, until it goes on.
pub const DIVERGED: &str = "diverged.json";

/// Whether a run keeps a file of this name.
pub fn is_reserved(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    [
        CONFIG, METRICS, BEST, DETECTOR, REPORT, ATTA_STORE, DIVERGED,
    ]
    .contains(&name)
        || name.starts_with("last")
        || name.starts_with("events.")
}

/// The state of a run folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Not there, or empty.
    New,
    /// It holds other files, and no run.
    Foreign,
    /// A run with epochs still to come, which can be resumed.
    Unfinished,
    /// All epochs are done, and it is whole.
    Finished,
    /// The same, without checkpoints: they were removed, and nothing is left to train.
    FinishedWithoutCheckpoints,
    /// A run that lacks a file it needs; with the reason and what to do.
    Damaged(String),
}

/// The settings needed here; any version's `config.toml` has them.
#[derive(Deserialize)]
struct Plan {
    epochs: Option<u32>,
    method: Option<String>,
}

impl RunState {
    /// Inspects a folder.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        if is_empty(folder)? {
            return Ok(Self::New);
        }
        let config = folder.join(CONFIG);
        if !config.is_file() {
            return Ok(Self::Foreign);
        }
        let plan = files::read_text(&config).and_then(|text| {
            let parsed = toml::from_str::<Plan>(&text);
            parsed.map_err(|error| Error::data(CONFIG, error.message(), "a run's settings"))
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(error @ Error::Data { .. }) => {
                return Ok(Self::Damaged(format!("{error}; start anew with --force")));
            }
            Err(error) => return Err(error),
        };
        let planned = plan.epochs.unwrap_or(u32::MAX);
        let logged = metrics::epochs_logged(&folder.join(METRICS))?;
        let method = plan.method.as_deref().and_then(Method::find);
        let missing = missing_model(folder, method.is_some_and(Method::trains_detector));
        Ok(match (checkpoint::epochs_done(folder), missing) {
            // After a kill between the first epoch's line and its checkpoint.
            (None, _) if logged <= 1 && logged < planned => Self::Unfinished,
            (None, None) if logged >= planned => Self::FinishedWithoutCheckpoints,
            (None, Some(name)) if logged >= planned => Self::Damaged(format!(
                "{name} is missing and no checkpoint is there; put it back, or start anew with --force"
            )),
            (None, _) => Self::Damaged(format!(
                "{logged} epochs are in {METRICS} and no checkpoint is there to go on from; put last/ \
                 back, or start anew with --force"
            )),
            (Some(done), Some(name)) if done >= planned => Self::Damaged(format!(
                "{name} is missing from a finished run; put it back, or start anew with --force"
            )),
            (Some(done), None) if done >= planned => Self::Finished,
            (Some(_), _) => Self::Unfinished,
        })
    }
}

/// The first best model that is missing: the classifier, or the detector of a joint run.
pub fn missing_model(folder: &Path, with_detector: bool) -> Option<&'static str> {
    let models = [BEST, DETECTOR]
        .into_iter()
        .take(if with_detector { 2 } else { 1 });
    models.into_iter().find(|name| !folder.join(name).exists())
}

/// Whether a folder does not exist, or holds only a lock and partially written files.
fn is_empty(folder: &Path) -> Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    let mut entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    Ok(entries.all(|entry| {
        entry.is_ok_and(|entry| {
            entry.file_name() == lock::INSIDE || files::is_partial(&entry.path())
        })
    }))
}

/// A warning about a model in the folder of an unfinished or damaged run; none for any other model.
pub fn unfinished_model(model: &Path) -> Option<String> {
    let folder = files::folder_of(model);
    match RunState::of(&folder) {
        Ok(RunState::Unfinished) => Some(format!("{}: from an unfinished run", model.display())),
        Ok(RunState::Damaged(reason)) => {
            Some(format!("{}: from a damaged run: {reason}", model.display()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    fn folder(names: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn the_state_of_a_run_folder_follows_from_its_files() {
        let state = |names: &[(&str, &str)]| RunState::of(folder(names).path()).unwrap();
        let config = |epochs: u32| format!("method = \"joint\"\nepochs = {epochs}\n");
        let (two, three) = (config(2), config(3));
        let lines = "{\"epoch\":1}\n{\"epoch\":2}\n";
        let checkpoint = ("last/state.json", "{\"progress\":{\"epochs\":2}}");
        let models = [(BEST, "w"), (DETECTOR, "w")];

        assert_eq!(state(&[]), RunState::New);
        assert_eq!(state(&[(lock::INSIDE, "")]), RunState::New);
        assert_eq!(state(&[("thesis.tex", "")]), RunState::Foreign);
        assert_eq!(state(&[(CONFIG, &two)]), RunState::Unfinished);
        assert_eq!(
            state(&[(CONFIG, &two), (METRICS, &lines[..12])]),
            RunState::Unfinished
        );
        let with = |more: &[(&str, &str)], config: &str| {
            state(&[&[(CONFIG, config), (METRICS, lines)], more].concat())
        };
        assert_eq!(
            with(&[&[checkpoint], &models[..]].concat(), &two),
            RunState::Finished
        );
        assert_eq!(with(&models, &two), RunState::FinishedWithoutCheckpoints);
        assert_eq!(
            with(&[&[checkpoint], &models[..]].concat(), &three),
            RunState::Unfinished
        );
        let damaged = |state: RunState, said: &str| match state {
            RunState::Damaged(reason) => assert!(reason.contains(said), "{reason}"),
            other => panic!("{other:?}"),
        };
        damaged(
            with(&[checkpoint, models[1]], &two),
            "best.safetensors is missing",
        );
        damaged(
            with(&[checkpoint, models[0]], &two),
            "detector.safetensors is missing",
        );
        damaged(with(&models, &three), "no checkpoint is there");
        damaged(state(&[(CONFIG, "epochs 3")]), "config.toml: found ");
        assert_eq!(
            RunState::of(Path::new("/nowhere/at/all")).unwrap(),
            RunState::New
        );
    }
}
