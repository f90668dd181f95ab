//! Format of `report.json` and of `trainer eval --json`: results of one model on the splits of a store.

use serde::{Deserialize, Serialize};

use crate::metrics::{ClassResults, Detection, DetectorMetrics, DistanceCurves, OrderedMap};

/// The results of one trained model on the requested splits. Accuracies are fractions in `[0,1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The evaluated model.
    pub model: Model,
    /// The model that the store's attacks were made against.
    pub surrogate: Surrogate,
    /// One result per split.
    pub splits: Vec<SplitResult>,
    /// Warnings of the evaluation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The evaluated model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its architecture.
    pub name: String,
    /// Training method, a name in `METHODS` such as `joint`; `unknown` where the metadata have none.
    pub method: String,
    /// Channels of its stem.
    pub width: usize,
    /// Epochs it had been trained for when it was best.
    pub epoch: u32,
}

/// The model that was attacked: the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surrogate {
    /// Its name in the store.
    pub name: String,
    /// The hash of its weights, in hexadecimal.
    pub sha256: String,
}

/// Accuracies on one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitResult {
    /// `val` or `test`.
    pub split: String,
    /// Clean images in it; as many for each attack.
    pub images: u64,
    /// On the clean images; none without images.
    pub clean: Option<f64>,
    /// On each attack's samples of all of them; empty without images.
    pub attacks: OrderedMap<f64>,
    /// Part of the images that are classified correctly clean and on every stored sample; none without images.
    #[serde(default)]
    pub worst_case: Option<f64>,
    /// On the mixed set.
    pub mixed: Mixed,
    /// The detector's results on the mixed set; none where the run trained no detector.
    pub detector: Option<DetectorMetrics>,
    /// The surrogate's own accuracies on the same images; none where it was trained on them.
    pub baseline: Option<Baseline>,
    /// Samples of each attack that equal their clean images; the detector is to call these clean.
    #[serde(default, skip_serializing_if = "no_count")]
    pub unchanged: OrderedMap<u64>,
    /// The detector's results for each attack alone; none where the run trained no detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection: Option<Detection>,
    /// Accuracy against the distance of the samples; none without images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_distance: Option<DistanceCurves>,
    /// Results by class; none without images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassResults>,
}

fn no_count(counts: &OrderedMap<u64>) -> bool {
    counts.0.iter().all(|(_, count)| *count == 0)
}

/// Accuracy on the mixed set: each image once, clean or as one of its variants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    /// Adversarial share.
    pub share: f64,
    /// Accuracy on it; none without images.
    pub accuracy: Option<f64>,
}

/// The surrogate's accuracies on a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// On the clean images; none without images.
    pub clean: Option<f64>,
    /// On each attack's samples.
    pub attacks: OrderedMap<f64>,
    /// Part of the images that it classifies correctly clean and on every stored sample.
    #[serde(default)]
    pub worst_case: Option<f64>,
    /// On the same mixed set as the model's.
    pub mixed: Option<f64>,
    /// Accuracy against the distance of the samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_distance: Option<DistanceCurves>,
}
