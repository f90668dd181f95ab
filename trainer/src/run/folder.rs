//! The run folder: settings, the best nets and the final evaluation go in. What stands in the
//! folder decides whether a command begins, goes on, or is refused.

use std::{fs, path::Path};

use candle_core::Device;
use shared::{Error, Result, cifar10::Split, files, model::Metadata, store::Store};

use crate::{
    config::Config,
    evaluate::{self, Measure},
    step::{Step, Watch},
};

const CONFIG: &str = "config.toml";
const BEST: &str = "best.safetensors";
const DETECTOR: &str = "detector.safetensors";
const REPORT: &str = "report.json";

/// Makes the folder this run's own: creates it, or finds the same settings in it.
///
/// # Errors
/// [`Error::Usage`] when it holds another run, or something that is no run.
pub fn enter(folder: &Path, config: &Config, force: bool) -> Result<()> {
    let path = folder.join(CONFIG);
    if folder.is_dir() {
        files::remove_partials(folder)?;
    }
    if path.exists() {
        if !force {
            return config.check_same(&Config::read(&path)?, folder);
        }
        clear(folder)?;
    } else if folder.exists() && !is_empty(folder)? {
        return Err(Error::Usage(format!(
            "{}: found other files and no {CONFIG}, expected a run folder or a new one",
            folder.display()
        )));
    }
    files::create_folder(folder)?;
    config.write(&path)
}

fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    Ok(entries.next().is_none())
}

/// Removes what a run has left, and nothing else.
fn clear(folder: &Path) -> Result<()> {
    for name in [CONFIG, "metrics.jsonl", BEST, DETECTOR, REPORT] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    crate::checkpoint::clear(folder)
}

/// Writes the best nets so far.
pub fn save_best(
    folder: &Path,
    config: &Config,
    step: &dyn Step,
    epoch: u32,
    accuracy: f64,
) -> Result<()> {
    let metadata = Metadata::from([
        ("architecture".into(), "resnet34".into()),
        ("method".into(), config.method.name().into()),
        ("width".into(), step.net().width().to_string()),
        ("epoch".into(), epoch.to_string()),
        ("accuracy".into(), accuracy.to_string()),
        ("seed".into(), config.seed.to_string()),
        ("data_hash".into(), config.data_hash.clone()),
        ("code_version".into(), config.version.clone()),
    ]);
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

/// Measures the best nets and writes `report.json`, unless it is there.
pub fn write_evaluation(
    folder: &Path,
    store: &Store,
    measure: Measure,
    device: &Device,
) -> Result<()> {
    let path = folder.join(REPORT);
    if path.exists() {
        return Ok(());
    }
    let (net, model) = evaluate::read_net(&folder.join(BEST), device)?;
    let detector = Some(folder.join(DETECTOR)).filter(|path| path.exists());
    let detector = detector
        .map(|path| evaluate::read_detector(&path, device))
        .transpose()?;
    let pretrained = evaluate::surrogate(store, device)?.frozen()?;
    let watch = detector.as_ref().map(|detector| Watch {
        detector,
        pretrained: &pretrained,
    });
    let splits = [Split::Val, Split::Test];
    let evaluation = evaluate::evaluate(store, &splits, model, &net, watch, measure, device)?;
    let text = serde_json::to_vec_pretty(&evaluation)
        .map_err(|reason| Error::data(path.display(), reason, "numbers that JSON can hold"))?;
    files::write_whole(&path, &text)
}
