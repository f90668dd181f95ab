//! `report.json`, what an evaluated run is worth: the numbers of `trainer eval` come in, the
//! report's tables go out of them.

use serde::{Deserialize, Serialize};

use crate::metrics::{DetectorMetrics, Named};

/// One trained model, measured on every split that was asked for. Accuracies are parts of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The model that was measured.
    pub model: Model,
    /// The model that the store's images were made against.
    pub surrogate: Surrogate,
    /// One result per split.
    pub splits: Vec<SplitResult>,
    /// What the program warned of until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The model that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its architecture.
    pub name: String,
    /// How it was trained: `pretrain`, `adversarial` or `joint`.
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
    pub attacks: Named<f64>,
    /// On the mixed set.
    pub mixed: Mixed,
    /// The detector's results on the mixed set; none where the run trained no detector.
    pub detector: Option<DetectorMetrics>,
    /// The surrogate's own accuracies on the same images; none where it was trained on them.
    pub baseline: Option<Baseline>,
    /// How many of each attack's samples equal their clean images, which are clean to the detector.
    #[serde(default, skip_serializing_if = "no_count")]
    pub unchanged: Named<u64>,
}

fn no_count(counts: &Named<u64>) -> bool {
    counts.0.iter().all(|(_, count)| *count == 0)
}

/// Accuracy on the mixed set: each image once, clean or as one of its variants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    /// Part of the images that are attacked.
    pub share: f64,
    /// Part of all images that the model is right about; none without images.
    pub accuracy: Option<f64>,
}

/// The surrogate's accuracies on a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// On the clean images; none without images.
    pub clean: Option<f64>,
    /// On each attack's samples.
    pub attacks: Named<f64>,
    /// On the same mixed set as the model's.
    pub mixed: Option<f64>,
}
