//! Run folders: the names of what a run keeps, and the one place that tells what a folder is (new,
//! unfinished, finished, finished without checkpoints, damaged). Every command asks it.

use std::{fs, path::Path};

use base::{Error, Result, files, lock};
use serde::Deserialize;

use crate::{checkpoint, metrics};

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
/// Where the run became non-finite, until it goes on.
pub const DIVERGED: &str = "diverged.json";

/// Whether a name is one of what a run keeps.
pub fn is_reserved(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    [CONFIG, METRICS, BEST, DETECTOR, REPORT, DIVERGED].contains(&name)
        || name.starts_with("last")
        || name.starts_with("events.")
}

/// What a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there, or empty.
    New,
    /// It holds other files, and no run.
    Foreign,
    /// A run with epochs still to come, which can be resumed.
    Unfinished,
    /// All epochs are done, and it is whole.
    Finished,
    /// The same, but its checkpoints were removed: nothing is left to train.
    FinishedWithoutCheckpoints,
    /// A run that lacks what it needs: what, and what to do.
    Damaged(String),
}

/// What is read of the settings here: those of a future version, too.
#[derive(Deserialize)]
struct Plan {
    epochs: Option<u32>,
    method: Option<String>,
}

impl State {
    /// Looks at a folder.
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
        let missing = missing_model(folder, plan.method.as_deref() == Some("joint"));
        Ok(match (checkpoint::epochs_done(folder), missing) {
            // A kill between the first epoch's line and its checkpoint leaves the line.
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

/// The best model that a run does not have any more, or not yet: the classifier, or the detector of a joint run.
pub fn missing_model(folder: &Path, joint: bool) -> Option<&'static str> {
    let models = [BEST, DETECTOR].into_iter().take(if joint { 2 } else { 1 });
    models.into_iter().find(|name| !folder.join(name).exists())
}

/// Whether a folder is not there or holds nothing but the lock and what a kill left of files half written.
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

/// What is said of a model beside the settings of a run that is not finished; nothing for any other model.
pub fn unfinished_model(model: &Path) -> Option<String> {
    let folder = files::folder_of(model);
    match State::of(&folder) {
        Ok(State::Unfinished) => Some(format!(
            "{}: of a run that is not finished",
            model.display()
        )),
        Ok(State::Damaged(reason)) => {
            Some(format!("{}: of a damaged run: {reason}", model.display()))
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
    fn a_run_folder_tells_what_it_is() {
        let state = |names: &[(&str, &str)]| State::of(folder(names).path()).unwrap();
        let config = |epochs: u32| format!("method = \"joint\"\nepochs = {epochs}\n");
        let (two, three) = (config(2), config(3));
        let lines = "{\"epoch\":1}\n{\"epoch\":2}\n";
        let checkpoint = ("last/state.json", "{\"progress\":{\"epochs\":2}}");
        let nets = [(BEST, "w"), (DETECTOR, "w")];

        assert_eq!(state(&[]), State::New);
        assert_eq!(state(&[(lock::INSIDE, "")]), State::New);
        assert_eq!(state(&[("thesis.tex", "")]), State::Foreign);
        assert_eq!(state(&[(CONFIG, &two)]), State::Unfinished);
        assert_eq!(
            state(&[(CONFIG, &two), (METRICS, &lines[..12])]),
            State::Unfinished
        );
        let with = |more: &[(&str, &str)], config: &str| {
            state(&[&[(CONFIG, config), (METRICS, lines)], more].concat())
        };
        assert_eq!(
            with(&[&[checkpoint], &nets[..]].concat(), &two),
            State::Finished
        );
        assert_eq!(with(&nets, &two), State::FinishedWithoutCheckpoints);
        assert_eq!(
            with(&[&[checkpoint], &nets[..]].concat(), &three),
            State::Unfinished
        );
        let damaged = |state: State, said: &str| match state {
            State::Damaged(reason) => assert!(reason.contains(said), "{reason}"),
            other => panic!("{other:?}"),
        };
        damaged(
            with(&[checkpoint, nets[1]], &two),
            "best.safetensors is missing",
        );
        damaged(
            with(&[checkpoint, nets[0]], &two),
            "detector.safetensors is missing",
        );
        damaged(with(&nets, &three), "no checkpoint is there");
        damaged(state(&[(CONFIG, "epochs 3")]), "config.toml: found ");
        assert_eq!(State::of(Path::new("/nowhere/at/all")).unwrap(), State::New);
    }
}
