//! `metrics.jsonl`, one line of JSON per epoch: what an epoch measured comes in, the lines go
//! out again in order, or the first one that is wrong is named.

pub mod events;

use std::{fmt, fs, io::Write, marker::PhantomData, path::Path};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use shared::{Error, Result, files};

/// One epoch. Accuracies, shares and probabilities are parts of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u32,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
    /// Training pictures per second of training.
    pub images_per_s: f64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Means over the epoch's draws.
    pub train: TrainMetrics,
    /// What was drawn; none where every draw is clean.
    pub mixture: Option<Mixture>,
    /// Measured after the epoch.
    pub val: ValMetrics,
    /// Whether the net is the best one so far.
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
    /// On clean pictures.
    pub clean: f64,
    /// On each attack's variants; empty without a store.
    pub attacks: Named<f64>,
    /// On the mixed set; none without a store.
    pub mixed: Option<f64>,
    /// The detector's (joint training only).
    pub detector: Option<DetectorMetrics>,
}

/// How well the detector tells attacked pictures of the mixed set from clean ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorMetrics {
    /// Part of the pictures it is right about.
    pub accuracy: f64,
    /// Area under its receiver operating characteristic: 0.5 is chance, 1 is perfect.
    pub auc: f64,
}

/// Appends one line. Write it before the epoch's checkpoint: then what a kill leaves here is
/// never less than what the checkpoint knows, and [`truncate_after`] mends the rest.
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

/// Reads every line.
///
/// # Errors
/// [`Error::Data`] naming file and line for a line that is not an epoch's metrics or whose epoch
/// does not come after the one before it; [`Error::Io`] when the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<EpochMetrics>> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let mut epochs: Vec<EpochMetrics> = Vec::new();
    for (line, text) in lines(&bytes) {
        let metrics = parse(path, line, text)?;
        let before = epochs.last().map_or(0, |last| last.epoch);
        if metrics.epoch <= before {
            return Err(Error::data(
                place(path, line),
                format!("epoch {}", metrics.epoch),
                format!("an epoch after {before}"),
            ));
        }
        epochs.push(metrics);
    }
    Ok(epochs)
}

/// Drops the lines of epochs after `epoch`, the checkpoint's, so that a resumed run writes them
/// once; also a last line that a kill left half-written. Lines that stay keep their bytes. A
/// file that is not there has nothing to drop.
///
/// # Errors
/// As [`read`], for every other line.
pub fn truncate_after(path: &Path, epoch: u32) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let mut kept = Vec::with_capacity(bytes.len());
    for (line, text) in lines(&bytes) {
        match parse(path, line, text) {
            Ok(metrics) if metrics.epoch <= epoch => {
                kept.extend_from_slice(text.trim_ascii_end());
                kept.push(b'\n');
            }
            Ok(_) => {}
            Err(_) if !text.ends_with(b"\n") => {}
            Err(error) => return Err(error),
        }
    }
    if kept == bytes {
        return Ok(());
    }
    files::write_whole(path, &kept)
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
