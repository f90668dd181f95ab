//! Run folder of a training: entering it (new, resumed or refused), best models and their metadata.

use std::path::{Path, PathBuf};

use base::{
    Error, Result, files,
    lock::Lock,
    log,
    output::{self, Existing, Form},
};
use nn::model::{Metadata, Normalization, Origin};

use super::diverged::Diverged;
use crate::{
    checkpoint,
    config::Config,
    folder::{ATTA_STORE, BEST, CONFIG, DETECTOR, DIVERGED, METRICS, REPORT, RunState},
    methods::{DetectorContext, Step},
};

/// A run folder as an output.
const OUTPUT: output::Kind = output::Kind {
    name: "a run folder",
    form: Form::Folder,
    existing: Existing::Resumed,
    // `enter` checks whether it is a run of the same settings.
    matches: |_| Ok(true),
};

/// Creates and locks a run folder, or an existing one of the same settings. Returns its state before.
///
/// # Errors
/// [`Error::Usage`] when it holds another run or other files, when another program writes to it, or when `force` would
/// remove the weights of `init` or the settings' images or stores; [`Error::Data`] when it is damaged.
pub fn enter(
    folder: &Path,
    config: &Config,
    init: Option<&Path>,
    force: bool,
) -> Result<(Lock, RunState)> {
    let name = folder.display();
    let folder = &output::check(folder, &OUTPUT, &[], force)?;
    let state = RunState::of(folder)?;
    if state == RunState::Foreign {
        return Err(Error::Usage(format!(
            "{name}: found other files and no {CONFIG}, expected a run folder or a new one"
        )));
    }
    files::create_folder(folder)?;
    let lock = Lock::inside(folder)?;
    // Again, under the lock.
    let state = RunState::of(folder)?;
    files::remove_partials(folder)?;
    let path = folder.join(CONFIG);
    if state == RunState::New || force {
        let stores = config.db.iter().chain(&config.more_db);
        let inputs = stores.chain(&config.data).map(PathBuf::as_path);
        clear(folder, inputs.chain(init))?;
        config.write(&path)?;
        return Ok((lock, RunState::New));
    }
    if let RunState::Damaged(reason) = state {
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

/// Removes the files of a run, and no others; none if one is an input.
fn clear<'a>(folder: &Path, inputs: impl Iterator<Item = &'a Path>) -> Result<()> {
    let files = [
        CONFIG, METRICS, BEST, DETECTOR, REPORT, ATTA_STORE, DIVERGED,
    ];
    let mut removed = files.map(|name| folder.join(name)).to_vec();
    removed.extend(checkpoint::folders(folder));
    for input in inputs {
        let place = input.canonicalize().unwrap_or_else(|_| input.to_path_buf());
        if removed.iter().any(|removed| place.starts_with(removed)) {
            return Err(Error::Usage(format!(
                "{}: --force would remove the input {}; name another output",
                folder.display(),
                input.display()
            )));
        }
    }
    removed.iter().try_for_each(|path| files::remove(path))
}

/// Metadata of a run's models, without their score.
pub fn metadata(
    config: &Config,
    origin: &Origin,
    normalization: Option<Normalization>,
) -> Metadata {
    let mut metadata = Metadata::from([
        ("method".into(), config.method.name().into()),
        ("seed".into(), config.seed.to_string()),
        ("data_hash".into(), config.data_hash.clone()),
        ("code_version".into(), config.version.clone()),
    ]);
    origin.write(&mut metadata);
    if let Some(normalization) = normalization {
        normalization.write(&mut metadata);
    }
    metadata
}

/// Validation accuracy of the best models.
pub struct Score {
    /// Epochs trained.
    pub epoch: u32,
    /// On the mixed set of `val`, or on clean images without attacks; none without images.
    pub accuracy: Option<f64>,
    /// On the clean images of `val`.
    pub clean: Option<f64>,
    /// On images of `val` under attack; none where it is not measured.
    pub robust: Option<f64>,
}

/// Writes the best models so far; `metadata` without their score.
pub fn save_best(folder: &Path, metadata: &Metadata, step: &dyn Step, score: &Score) -> Result<()> {
    let mut metadata = metadata.clone();
    step.evaluated().describe().write(&mut metadata);
    metadata.insert("epoch".into(), score.epoch.to_string());
    for (key, accuracy) in [
        ("accuracy", score.accuracy),
        ("clean_accuracy", score.clean),
        ("robust_accuracy", score.robust),
    ] {
        if let Some(accuracy) = accuracy {
            metadata.insert(key.into(), accuracy.to_string());
        }
    }
    if let Some(DetectorContext { detector, .. }) = step.detector() {
        let mut metadata = metadata.clone();
        metadata.insert("architecture".into(), "detector".into());
        metadata.insert("layers".into(), detector.layers().to_string());
        detector
            .weights()
            .write(&folder.join(DETECTOR), &metadata)?;
    }
    step.evaluated()
        .weights()
        .write(&folder.join(BEST), &metadata)
}
