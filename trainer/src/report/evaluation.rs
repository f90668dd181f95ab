//! `report.json`, what an evaluated run is worth: the numbers of `trainer eval` come in, the
//! report's tables go out of them.

use serde::{Deserialize, Serialize};

use crate::metrics::{DetectorMetrics, Named};

/// One trained net, measured on every split that was asked for. Accuracies are parts of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The net that was measured.
    pub model: Model,
    /// The net that the store's pictures were made against.
    pub surrogate: Surrogate,
    /// One result per split.
    pub splits: Vec<SplitResult>,
}

/// The net that was measured.
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

/// The net that was attacked: the baseline.
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
    /// Clean pictures in it; as many for each attack.
    pub images: u64,
    /// On the clean pictures.
    pub clean: f64,
    /// On each attack's variants of all of them.
    pub attacks: Named<f64>,
    /// On the mixed set.
    pub mixed: Mixed,
    /// The detector's results on the mixed set; none where the run trained no detector.
    pub detector: Option<DetectorMetrics>,
    /// The surrogate's own accuracies on the same pictures.
    pub baseline: Baseline,
}

/// Accuracy on the mixed set: each picture once, clean or as one of its variants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixed {
    /// Part of the pictures that are attacked.
    pub share: f64,
    /// Part of all pictures that the net is right about.
    pub accuracy: f64,
}

/// The surrogate's accuracies on a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// On the clean pictures.
    pub clean: f64,
    /// On each attack's variants.
    pub attacks: Named<f64>,
    /// On the same mixed set as the net's.
    pub mixed: f64,
}
