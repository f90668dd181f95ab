//! Detection of each attack's samples: ROC AUC, and true positive rates at thresholds of fixed false positive rates.

use serde::{Deserialize, Serialize};

use super::OrderedMap;

/// A detector's results on one split, for each attack alone. Rates are fractions in `[0,1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The thresholds, rising in their false positive rates; empty where there are none.
    pub thresholds: Vec<Threshold>,
    /// Why there are no thresholds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_thresholds: Option<String>,
    /// Each attack's samples against the split's clean images.
    pub attacks: OrderedMap<AttackDetection>,
}

/// A score above which images are flagged as adversarial, the same for all attacks and splits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// False positive rate on the clean images of `val`, which fix the threshold.
    pub fpr: f64,
    /// The score: logit of adversarial minus logit of clean.
    pub score: f64,
    /// False positive rate on the clean images of this split.
    pub measured_fpr: f64,
}

/// Detection of one attack's samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackDetection {
    /// Whether the attack is adversarial; noise is not.
    pub adversarial: bool,
    /// Samples that differ from their clean image; the others are clean to a detector.
    pub changed: u64,
    /// Samples that the evaluated model misclassifies, of images that it classifies correctly.
    pub successful: u64,
    /// Area under the ROC curve of the changed samples against all clean images; none without either.
    pub auc: Option<f64>,
    /// True positive rates, one for each threshold.
    pub tpr: Vec<TruePositiveRate>,
}

/// Part of the samples with a score above a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruePositiveRate {
    /// False positive rate that the threshold was chosen for.
    pub fpr: f64,
    /// Of the changed samples; none without any.
    pub changed: Option<f64>,
    /// Of the successful samples; none without any.
    pub successful: Option<f64>,
}
