//! The run folder as a training writes it: entering it (new, resumed, or refused), and the best models.

use std::{fs, path::Path};

use base::{
    Error, Result, files,
    lock::Lock,
    log,
    output::{self, Existing, Form},
};
use nn::model::Metadata;

use super::diverged::Diverged;
use crate::{
    config::Config,
    folder::{BEST, CONFIG, DETECTOR, DIVERGED, METRICS, REPORT, State},
    step::Step,
};

/// A run folder as an output.
const OUTPUT: output::Kind = output::Kind {
    name: "a run folder",
    form: Form::Folder,
    existing: Existing::Resumed,
    // Whether it is a run's, and of the same settings, `enter` looks at.
    matches: |_| Ok(true),
};

/// Makes the folder this run's own for as long as the lock is held: creates it, or finds the same settings in
/// it. Returns what it was.
///
/// # Errors
/// [`Error::Usage`] when it holds another run, or something that is no run, or when another program writes to
/// it; [`Error::Data`] when it is damaged.
pub fn enter(folder: &Path, config: &Config, force: bool) -> Result<(Lock, State)> {
    let name = folder.display();
    let folder = &output::check(folder, &OUTPUT, &[], force)?;
    let state = State::of(folder)?;
    if state == State::Foreign {
        return Err(Error::Usage(format!(
            "{name}: found other files and no {CONFIG}, expected a run folder or a new one"
        )));
    }
    files::create_folder(folder)?;
    let lock = Lock::inside(folder)?;
    // Again, now that nobody else changes it.
    let state = State::of(folder)?;
    files::remove_partials(folder)?;
    let path = folder.join(CONFIG);
    if state == State::New || force {
        clear(folder)?;
        config.write(&path)?;
        return Ok((lock, State::New));
    }
    if let State::Damaged(reason) = state {
        return Err(Error::data(
            name,
            "a damaged run",
            format!("a whole one: {reason}"),
        ));
    }
    let (earlier, diverged) = (Config::read(&path)?, Diverged::read(folder)?);
    config.check_same(&earlier, folder, diverged.is_some())?;
    if let Some(diverged) = diverged {
        if config.check_same(&earlier, folder, false).is_ok() {
            log::warning(format_args!(
                "{name}: {diverged} with these settings, which will happen again; a smaller --lr or a --warmup \
                 may help"
            ));
        } else {
            log::info(format_args!(
                "{name}: {diverged}; going on with the new learning rate"
            ));
            config.write(&path)?;
            files::remove(&folder.join(DIVERGED))?;
        }
    }
    Ok((lock, state))
}

/// Removes what a run has left, and nothing else.
fn clear(folder: &Path) -> Result<()> {
    for name in [CONFIG, METRICS, BEST, DETECTOR, REPORT, DIVERGED] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    crate::checkpoint::clear(folder)
}

/// How good the models are that are written as the best ones.
pub struct Score {
    /// Epochs that they were trained for.
    pub epoch: u32,
    /// On the mixed set of `val`, or on clean images without attacks; none without images.
    pub accuracy: Option<f64>,
    /// On the clean images of `val`.
    pub clean: Option<f64>,
}

/// Writes the best models so far; `header` is what is known of them beside their score.
pub fn save_best(folder: &Path, header: &Metadata, step: &dyn Step, score: &Score) -> Result<()> {
    let mut metadata = header.clone();
    step.net().describe().write(&mut metadata);
    metadata.insert("epoch".into(), score.epoch.to_string());
    for (key, accuracy) in [
        ("accuracy", score.accuracy),
        ("clean_accuracy", score.clean),
    ] {
        if let Some(accuracy) = accuracy {
            metadata.insert(key.into(), accuracy.to_string());
        }
    }
    if let Some(watch) = step.watch() {
        let mut metadata = metadata.clone();
        metadata.insert("architecture".into(), "detector".into());
        let layers = watch.detector.layers().to_string();
        metadata.insert("layers".into(), layers);
        let weights = watch.detector.weights();
        weights.write(&folder.join(DETECTOR), &metadata)?;
    }
    step.net().weights().write(&folder.join(BEST), &metadata)
}
