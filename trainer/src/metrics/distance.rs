//! Accuracy against the distance of stored samples from their clean images.

use serde::{Deserialize, Serialize};

/// Curves over the two norms; distances are in units of `[0,1]`, accuracies in `[0,1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistanceCurves {
    /// Over the L2 distance.
    pub l2: Vec<DistancePoint>,
    /// Over the Linf distance.
    pub linf: Vec<DistancePoint>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistancePoint {
    /// Largest distance of a sample that counts.
    pub distance: f64,
    /// Part of the images that are classified correctly clean and on each of their samples that counts.
    pub accuracy: f64,
}
