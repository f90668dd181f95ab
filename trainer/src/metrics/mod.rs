//! Metrics of a run: `metrics.jsonl`, one line of JSON per epoch. Reading names the first line that is wrong;
//! resuming repairs what a kill left. The submodules have what a final evaluation measures beside them.

mod classes;
mod detection;
mod distance;
pub mod events;
mod ordered_map;

use std::{fs, io::Write, path::Path};

use base::{Error, Result, files, log};
use serde::{Deserialize, Serialize};

pub use self::{
    classes::{ClassResults, Confusion},
    detection::{AttackDetection, Detection, Threshold, TruePositiveRate},
    distance::{DistanceCurves, DistancePoint},
    ordered_map::OrderedMap,
};

/// One epoch. Accuracies, shares and probabilities are fractions in `[0,1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u32,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
    /// Training images per second of training.
    pub images_per_s: f64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Means over the epoch's draws.
    pub train: TrainMetrics,
    /// Probabilities and draws; none where every draw is clean.
    pub mixture: Option<MixtureMetrics>,
    /// Accuracies on `val` after the epoch.
    pub val: ValMetrics,
    /// Whether the model is the best one so far.
    pub best: bool,
}

/// Means over the draws of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainMetrics {
    /// The classifier's whole loss.
    pub loss: f64,
    /// The classifier's accuracy.
    pub accuracy: f64,
    /// The cross entropy.
    pub cross_entropy: f64,
    /// The distance between the two detector features (joint training only).
    pub smooth_l1: Option<f64>,
    /// The detector's own loss (joint training only).
    pub detector_loss: Option<f64>,
    /// The detector's accuracy at telling clean from attacked (joint training only).
    pub detector_accuracy: Option<f64>,
}

/// The sampler's probabilities and draws in an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixtureMetrics {
    /// Probability that a draw is adversarial.
    pub share: f64,
    /// Probability of each attack, given that a draw is adversarial; they sum to 1.
    pub probabilities: OrderedMap<f64>,
    /// Draws of `clean` and of each attack.
    pub drawn: OrderedMap<u64>,
}

/// Accuracies on the validation split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValMetrics {
    /// On clean images; none where there are no images.
    pub clean: Option<f64>,
    /// On each attack's samples; empty without a store or images.
    pub attacks: OrderedMap<f64>,
    /// On the mixed set; none without a store or images.
    pub mixed: Option<f64>,
    /// On clean images under attack; none where it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robust: Option<f64>,
    /// The detector's (joint training only).
    pub detector: Option<DetectorMetrics>,
}

/// How well the detector tells attacked images of the mixed set from clean ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorMetrics {
    /// Its accuracy.
    pub accuracy: f64,
    /// Area under the ROC curve: 0.5 is chance, 1 is perfect; none where all images are clean, or all
    /// adversarial.
    pub auc: Option<f64>,
}

/// Appends one line. It is written before the epoch's checkpoint, so that after a kill the file has at least
/// the checkpoint's epochs; [`resume_after`] removes the others.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::NonFinite`] for a number that JSON
/// cannot hold.
pub fn append(path: &Path, metrics: &EpochMetrics) -> Result<()> {
    let mut line = serde_json::to_vec(metrics)
        .map_err(|error| Error::data(path.display(), error, "metrics of an epoch"))?;
    line.push(b'\n');
    // JSON has no NaN: serde writes null, which reads as `None`, or fails when the file is read again.
    let (train, val) = (&metrics.train, &metrics.val);
    let optional = [
        train.smooth_l1,
        train.detector_loss,
        train.detector_accuracy,
        val.mixed,
        val.robust,
    ];
    if parse(path, 1, &line).is_err() || optional.iter().flatten().any(|n| !n.is_finite()) {
        let epoch = metrics.epoch;
        return Err(Error::NonFinite(format!(
            "epoch {epoch}: a metric is not a finite number"
        )));
    }
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    file.write_all(&line).map_err(Error::io("write", path))?;
    file.sync_data().map_err(Error::io("write", path))
}

/// Reads every line. Blank lines and repeated epochs are skipped with a warning; so is, without one, a last line
/// without a line end, which is still being written.
///
/// # Errors
/// [`Error::Data`] naming file and line for a line that is not an epoch's metrics; [`Error::Io`] when the
/// file cannot be read.
pub fn read(path: &Path) -> Result<Vec<EpochMetrics>> {
    let bytes = files::read(path)?;
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    let mut skipped = Vec::new();
    for (line, text) in lines(&bytes) {
        match parse(path, line, text) {
            _ if text.trim_ascii().is_empty() => skipped.push((line, "a blank line".into())),
            Ok(metrics) if metrics.epoch <= last_of(&epochs) => {
                skipped.push((line, format!("epoch {} again", metrics.epoch)));
            }
            Ok(metrics) => epochs.push(metrics),
            Err(_) if !text.ends_with(b"\n") => {}
            Err(error) => return Err(error),
        }
    }
    warn_of_skipped(path, &skipped);
    Ok(epochs)
}

/// Truncates the file to the `epoch` epochs of a checkpoint that is resumed, and returns their metrics. Later
/// epochs are removed, since they are trained again; damaged, blank and repeated lines with a warning. The other
/// lines keep their bytes. Missing lines do not invalidate a checkpoint.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read or written.
pub fn resume_after(path: &Path, epoch: u32) -> Result<Vec<EpochMetrics>> {
    let bytes = if path.exists() {
        files::read(path)?
    } else {
        Vec::new()
    };
    let mut kept = Vec::with_capacity(bytes.len());
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    let mut skipped = Vec::new();
    for (line, text) in lines(&bytes) {
        match parse(path, line, text) {
            Ok(metrics) if metrics.epoch > epoch => {}
            Ok(metrics) if metrics.epoch <= last_of(&epochs) => {
                skipped.push((line, format!("epoch {} again", metrics.epoch)));
            }
            Ok(metrics) => {
                kept.extend_from_slice(text.trim_ascii_end());
                kept.push(b'\n');
                epochs.push(metrics);
            }
            // Half-written when the program was killed.
            Err(_) if !text.ends_with(b"\n") => {}
            Err(_) => skipped.push((line, "not an epoch's metrics".into())),
        }
    }
    warn_of_skipped(path, &skipped);
    if epochs.len() < epoch as usize {
        log::warning(format_args!(
            "{}: {} of the checkpoint's {epoch} epochs have a line; the run goes on without the others",
            path.display(),
            epochs.len()
        ));
    }
    if kept != bytes {
        files::write_whole(path, &kept)?;
    }
    Ok(epochs)
}

/// The last epoch that has a line, 0 without any.
///
/// # Errors
/// [`Error::Io`] when the file is there and cannot be read.
pub fn epochs_logged(path: &Path) -> Result<u32> {
    #[derive(Deserialize)]
    struct Epoch {
        epoch: u32,
    }
    if !path.exists() {
        return Ok(0);
    }
    let bytes = files::read(path)?;
    let epochs = lines(&bytes).filter_map(|(_, text)| serde_json::from_slice::<Epoch>(text).ok());
    Ok(epochs.map(|line| line.epoch).max().unwrap_or(0))
}

fn last_of(epochs: &[EpochMetrics]) -> u32 {
    epochs.last().map_or(0, |last| last.epoch)
}

/// Logs one warning about all skipped lines.
fn warn_of_skipped(path: &Path, skipped: &[(usize, String)]) {
    if let Some((line, what)) = skipped.first() {
        log::warning(format_args!(
            "{}: {what}; lines skipped: {}",
            location(path, *line),
            skipped.len()
        ));
    }
}

/// Lines with their numbers from 1 and their line ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n'))
}

fn location(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

fn parse(path: &Path, line: usize, text: &[u8]) -> Result<EpochMetrics> {
    serde_json::from_slice(text).map_err(|error| {
        // The parser sees one line alone: its line number would mislead.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Error::data(
            location(path, line),
            format!("{reason} (column {})", error.column()),
            "one epoch's metrics as JSON",
        )
    })
}

#[cfg(test)]
mod tests;
