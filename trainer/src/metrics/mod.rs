//! `metrics.jsonl`, one line of JSON per epoch: what an epoch measured comes in, the lines go
//! out again in order, or the first one that is wrong is named.

pub mod events;

use std::{fmt, fs, io::Write, marker::PhantomData, path::Path};

use base::{Error, Result, files, log};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// One epoch. Accuracies, shares and probabilities are parts of 1.
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
    /// What was drawn; none where every draw is clean.
    pub mixture: Option<Mixture>,
    /// Measured after the epoch.
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
    /// The part of the loss that the labels ask for.
    pub cross_entropy: f64,
    /// The distance between the two detector features (joint training only).
    pub smooth_l1: Option<f64>,
    /// The detector's own loss (joint training only).
    pub detector_loss: Option<f64>,
    /// The detector's accuracy at telling clean from attacked (joint training only).
    pub detector_accuracy: Option<f64>,
}

/// What the sampler did in an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Probability that a draw is adversarial.
    pub share: f64,
    /// Probability of each attack, given that a draw is adversarial; they sum to 1.
    pub probabilities: Named<f64>,
    /// Draws by what they showed: `clean` and each attack.
    pub drawn: Named<u64>,
}

/// Accuracies on the validation split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValMetrics {
    /// On clean images; none where there are no images.
    pub clean: Option<f64>,
    /// On each attack's samples; empty without a store or images.
    pub attacks: Named<f64>,
    /// On the mixed set; none without a store or images.
    pub mixed: Option<f64>,
    /// The detector's (joint training only).
    pub detector: Option<DetectorMetrics>,
}

/// How well the detector tells attacked images of the mixed set from clean ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorMetrics {
    /// Part of the images it is right about.
    pub accuracy: f64,
    /// Area under its receiver operating characteristic: 0.5 is chance, 1 is perfect; none where there are
    /// only clean or only adversarial images.
    pub auc: Option<f64>,
}

/// Appends one line. Write it before the epoch's checkpoint: then what a kill leaves here is
/// never less than what the checkpoint knows, and [`resume_after`] mends the rest.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written, [`Error::NonFinite`] for a number that JSON
/// cannot hold.
pub fn append(path: &Path, metrics: &EpochMetrics) -> Result<()> {
    let mut line = serde_json::to_vec(metrics)
        .map_err(|error| Error::data(path.display(), error, "metrics of an epoch"))?;
    line.push(b'\n');
    // JSON has no NaN: it becomes null, which reads as "none" or fails only the next reader.
    let (train, val) = (&metrics.train, &metrics.val);
    let optional = [
        train.smooth_l1,
        train.detector_loss,
        train.detector_accuracy,
        val.mixed,
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

/// Reads every line. Blank lines and an epoch that was there before are passed over with a warning; a last
/// line without an end is still being written.
///
/// # Errors
/// [`Error::Data`] naming file and line for a line that is not an epoch's metrics; [`Error::Io`] when the
/// file cannot be read.
pub fn read(path: &Path) -> Result<Vec<EpochMetrics>> {
    let bytes = files::read(path)?;
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    let mut passed = Vec::new();
    for (line, text) in lines(&bytes) {
        match parse(path, line, text) {
            _ if text.trim_ascii().is_empty() => passed.push((line, "a blank line".into())),
            Ok(metrics) if metrics.epoch <= last_of(&epochs) => {
                passed.push((line, format!("epoch {} again", metrics.epoch)));
            }
            Ok(metrics) => epochs.push(metrics),
            Err(_) if !text.ends_with(b"\n") => {}
            Err(error) => return Err(error),
        }
    }
    warn_of(path, &passed);
    Ok(epochs)
}

/// Makes the file one that a checkpoint of `epoch` epochs goes on with, and returns its lines: later epochs go,
/// since they are trained again, and with a warning everything that is no line of the next epoch. What a
/// checkpoint is worth does not depend on this file. Lines that stay keep their bytes.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read or written.
pub fn resume_after(path: &Path, epoch: u32) -> Result<Vec<EpochMetrics>> {
    let bytes = match path.exists() {
        true => files::read(path)?,
        false => Vec::new(),
    };
    let mut kept = Vec::with_capacity(bytes.len());
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    let mut passed = Vec::new();
    for (line, text) in lines(&bytes) {
        match parse(path, line, text) {
            Ok(metrics) if metrics.epoch > epoch => {}
            Ok(metrics) if metrics.epoch <= last_of(&epochs) => {
                passed.push((line, format!("epoch {} again", metrics.epoch)));
            }
            Ok(metrics) => {
                kept.extend_from_slice(text.trim_ascii_end());
                kept.push(b'\n');
                epochs.push(metrics);
            }
            // What a kill left half-written.
            Err(_) if !text.ends_with(b"\n") => {}
            Err(_) => passed.push((line, "no epoch's metrics".into())),
        }
    }
    warn_of(path, &passed);
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

/// The last epoch that has a line, 0 without any: for telling what a run folder is.
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

/// Warns of lines that were passed over, once for all of them.
fn warn_of(path: &Path, passed: &[(usize, String)]) {
    if let Some((line, what)) = passed.first() {
        log::warning(format_args!(
            "{}: {what}; lines passed over: {}",
            place(path, *line),
            passed.len()
        ));
    }
}

/// Lines with their numbers from 1 and their line ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(bytes.split_inclusive(|&byte| byte == b'\n'))
}

fn place(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

fn parse(path: &Path, line: usize, text: &[u8]) -> Result<EpochMetrics> {
    serde_json::from_slice(text).map_err(|error| {
        // A line is a document of its own to the parser: its line number would mislead.
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Error::data(
            place(path, line),
            format!("{reason} (column {})", error.column()),
            "one epoch's metrics as JSON",
        )
    })
}

/// Values by name, in the order they were given: an object in JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Named<T> {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of values by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Named<T>, A::Error> {
        let mut named = Named(Vec::new());
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if named.get(&name).is_some() {
                return Err(serde::de::Error::custom(format!("{name:?} stands twice")));
            }
            named.0.push((name, value));
        }
        Ok(named)
    }
}

#[cfg(test)]
mod tests;
