//! Checkpoints: atomic save of models, optimizer and counters to `RUN/last/`. Loading falls back from a damaged
//! one to the one before it, with a warning.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base::{Error, Result, files, log};
use candle_core::Device;
use nn::model::{Metadata, Weights};
use serde::{Deserialize, Serialize};

use crate::{sampler, totals::Totals};

/// Counters of a run: what is done, and the sampler's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunProgress {
    /// Epochs that are done.
    pub epochs: u32,
    /// Steps done of the epoch after those.
    pub steps: u64,
    /// Sums over those steps.
    pub totals: Totals,
    /// The sampler's mixture.
    pub sampler: Option<sampler::SamplerState>,
    /// The best score on `val` so far.
    pub best: Option<f64>,
    /// The best accuracy on `val` under attack so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_robust: Option<f64>,
}

/// What a checkpoint keeps beside the counters.
#[derive(Debug, Default)]
pub struct Parts {
    /// Weights and optimizer states by their files' names.
    pub weights: BTreeMap<String, Weights>,
    /// Perturbations of the training images (ATTA).
    pub perturbations: Option<Vec<u8>>,
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
struct StateFile {
    progress: RunProgress,
    /// BLAKE3 of each file beside it.
    files: BTreeMap<String, String>,
    /// BLAKE3 of the above as JSON.
    hash: String,
}

impl StateFile {
    fn new(progress: RunProgress, files: BTreeMap<String, String>) -> Result<Self> {
        let text = serde_json::to_vec(&(&progress, &files)).map_err(not_json)?;
        Ok(Self {
            progress,
            files,
            hash: blake3::hash(&text).to_hex().to_string(),
        })
    }
}

fn not_json(reason: serde_json::Error) -> Error {
    Error::data(STATE, reason, "numbers that JSON can hold")
}

/// Replaces `RUN/last/`.
pub fn save(
    run: &Path,
    progress: &RunProgress,
    parts: &BTreeMap<&str, Weights>,
    perturbations: Option<Vec<u8>>,
) -> Result<()> {
    let [last, before, old, new] = folders(run);
    files::remove(&new)?;
    files::create_folder(&new)?;
    let mut hashes = BTreeMap::new();
    let mut write = |file: String, bytes: &[u8]| {
        hashes.insert(file.clone(), blake3::hash(bytes).to_hex().to_string());
        files::write_whole(&new.join(file), bytes)
    };
    for (name, weights) in parts {
        let file = format!("{name}.safetensors");
        write(file, &weights.bytes(&Metadata::new())?)?;
    }
    if let Some(bytes) = perturbations {
        write(PERTURBATIONS.into(), &bytes)?;
    }
    let state = StateFile::new(progress.clone(), hashes)?;
    let text = serde_json::to_vec_pretty(&state).map_err(not_json)?;
    files::write_whole(&new.join(STATE), &text)?;
    // At every moment the two newest whole checkpoints are under two of the three names: a folder is renamed
    // to `old` before it is removed.
    if last.exists() {
        files::remove(&old)?;
        if before.exists() {
            files::rename(&before, &old)?;
        }
        files::rename(&last, &before)?;
    }
    files::rename(&new, &last)?;
    files::remove(&old)
}

/// Reads the newest whole checkpoint, if there is any.
///
/// # Errors
/// [`Error::Data`] when all checkpoints are damaged.
pub fn load(run: &Path, device: &Device) -> Result<Option<(RunProgress, Parts)>> {
    let [last, before, old, _] = folders(run);
    let mut damage = None;
    let there = [&last, &before, &old].into_iter();
    for folder in there.filter(|folder| folder.exists()) {
        match read(folder, device) {
            Ok(found) => {
                if damage.is_some() {
                    // Otherwise the next save would replace this one by the damaged one.
                    files::remove(&last)?;
                    files::rename(folder, &last)?;
                }
                return Ok(Some(found));
            }
            Err(error) => {
                log::warning(format_args!("skipped a damaged checkpoint: {error}"));
                damage = Some(error);
            }
        }
    }
    damage.map_or(Ok(None), Err)
}

/// The epochs done by the newest checkpoint, which is not verified; none without a checkpoint.
pub fn epochs_done(run: &Path) -> Option<u32> {
    let [last, before, old, _] = folders(run);
    let there: Vec<PathBuf> = [last, before, old]
        .into_iter()
        .filter(|folder| folder.exists())
        .collect();
    let epochs = |folder: &PathBuf| {
        let state: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join(STATE)).ok()?).ok()?;
        u32::try_from(state["progress"]["epochs"].as_u64()?).ok()
    };
    // An unreadable checkpoint counts as one of 0 epochs.
    there
        .iter()
        .find_map(epochs)
        .or((!there.is_empty()).then_some(0))
}

const STATE: &str = "state.json";
const PERTURBATIONS: &str = "perturbations.bin";

/// The folders of all checkpoints of a run, there or not.
pub fn folders(run: &Path) -> [PathBuf; 4] {
    ["last", "last.before", "last.old", "last.new"].map(|name| run.join(name))
}

fn read(folder: &Path, device: &Device) -> Result<(RunProgress, Parts)> {
    let path = folder.join(STATE);
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    let state: StateFile = serde_json::from_slice(&text)
        .map_err(|reason| Error::data(path.display(), reason, "a checkpoint's state"))?;
    let expected = StateFile::new(state.progress, state.files)?;
    if state.hash != expected.hash {
        let found = format!("hash {}", state.hash);
        return Err(Error::data(path.display(), found, expected.hash));
    }
    let mut parts = Parts::default();
    for (file, hash) in &expected.files {
        let path = folder.join(file);
        if path.parent() != Some(folder) {
            return Err(Error::data(path.display(), file, "a file beside it"));
        }
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let found = blake3::hash(&bytes).to_hex().to_string();
        if found != *hash {
            return Err(Error::data(path.display(), format!("hash {found}"), hash));
        }
        if file == PERTURBATIONS {
            parts.perturbations = Some(bytes);
            continue;
        }
        let (weights, _) = Weights::parse(&path.display().to_string(), &bytes, device)?;
        let name = file.trim_end_matches(".safetensors").to_string();
        parts.weights.insert(name, weights);
    }
    Ok((expected.progress, parts))
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    fn weights(value: f32) -> BTreeMap<&'static str, Weights> {
        let tensor = Tensor::new(&[value], &Device::Cpu).unwrap();
        let weights = Weights::from_iter([("a".to_string(), tensor)]);
        BTreeMap::from([("net", weights)])
    }

    fn value(parts: &Parts) -> f32 {
        parts.weights["net"].get("a").unwrap().to_vec1().unwrap()[0]
    }

    fn saved() -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        for (epochs, number) in [(1, 10.0), (2, 20.0)] {
            let progress = RunProgress {
                epochs,
                ..RunProgress::default()
            };
            let bytes = Some(vec![number as u8]);
            save(run.path(), &progress, &weights(number), bytes).unwrap();
        }
        run
    }

    #[test]
    fn checkpointed_numbers_round_trip_bit_for_bit() {
        let mut stream = base::random::Stream::new(1, "numbers", &[]);
        for _ in 0..1000 {
            let best = Some(stream.between(0.0, 300.0));
            let text = serde_json::to_vec(&RunProgress {
                best,
                ..RunProgress::default()
            });
            let read: RunProgress = serde_json::from_slice(&text.unwrap()).unwrap();
            assert_eq!(read.best, best);
        }
    }

    #[test]
    fn the_newest_checkpoint_is_loaded() {
        let run = saved();
        let (progress, parts) = load(run.path(), &Device::Cpu).unwrap().unwrap();
        assert_eq!((progress.epochs, value(&parts)), (2, 20.0));
        assert_eq!(parts.perturbations, Some(vec![20]));
        assert!(
            load(&run.path().join("last"), &Device::Cpu)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_damaged_checkpoint_falls_back_to_the_one_before_it() {
        for file in ["state.json", "net.safetensors", "perturbations.bin"] {
            let run = saved();
            let path = run.path().join("last").join(file);
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.len() - 1);
            fs::write(&path, bytes).unwrap();
            let (progress, parts) = load(run.path(), &Device::Cpu).unwrap().unwrap();
            assert_eq!((progress.epochs, value(&parts)), (1, 10.0));
            // It is the last one now, so the next save keeps it.
            save(run.path(), &progress, &weights(30.0), None).unwrap();
            fs::remove_dir_all(run.path().join("last")).unwrap();
            let (_, parts) = load(run.path(), &Device::Cpu).unwrap().unwrap();
            assert_eq!(value(&parts), 10.0);
        }
    }

    #[test]
    fn the_previous_checkpoint_is_found_after_a_kill_between_two_renames() {
        let run = saved();
        let [last, before, old, _] = folders(run.path());
        fs::rename(before, old).unwrap();
        fs::remove_file(last.join(STATE)).unwrap();
        let (progress, _) = load(run.path(), &Device::Cpu).unwrap().unwrap();
        assert_eq!(progress.epochs, 1);
    }

    #[test]
    fn a_changed_checkpoint_state_is_damage_too() {
        let run = saved();
        let path = run.path().join("last").join(STATE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"epochs\": 2", "\"epochs\": 3")).unwrap();
        let (progress, _) = load(run.path(), &Device::Cpu).unwrap().unwrap();
        assert_eq!(progress.epochs, 1);
    }

    #[test]
    fn when_all_checkpoints_are_damaged_loading_fails() {
        let run = saved();
        for folder in ["last", "last.before"] {
            fs::remove_file(run.path().join(folder).join("net.safetensors")).unwrap();
        }
        assert_eq!(load(run.path(), &Device::Cpu).unwrap_err().exit_code(), 3);
    }
}
