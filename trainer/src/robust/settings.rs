//! Settings of an evaluation, as `settings.json` keeps them: whatever its results depend on. A resumed evaluation,
//! and all its shards, must have the same.

use robustness::{Norm, Settings, ThreatModel};
use serde::{Deserialize, Serialize};

use crate::eps::Eps;

/// All settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RobustSettings {
    /// SHA-256 of the classifier's file.
    pub model_sha256: String,
    /// Input normalization that was given on the command line.
    pub normalization: Option<String>,
    /// SHA-256 of the detector's and the pretrained model's file; none without a detector.
    pub detector_sha256: Option<[String; 2]>,
    /// BLAKE3 of the selected images.
    pub images_hash: String,
    /// Their split.
    pub split: String,
    /// How many.
    pub images: usize,
    /// The norm of perturbations.
    pub norm: Norm,
    /// The budgets.
    pub eps: Vec<Eps>,
    /// The attacks, in their order.
    pub attacks: Vec<String>,
    /// Steps of gradient attacks, where not each attack's own.
    pub steps: Option<u32>,
    /// Random restarts of gradient attacks, where not each attack's own.
    pub restarts: Option<u32>,
    /// Queries of black-box attacks, where not each attack's own.
    pub queries: Option<u32>,
    /// Images of the sanity checks.
    pub sanity: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl RobustSettings {
    /// What attacks need of them.
    pub fn of_attacks(&self) -> Settings {
        Settings {
            steps: self.steps,
            restarts: self.restarts,
            queries: self.queries,
            seed: self.seed,
        }
    }

    /// The threat model of the budget of this number.
    pub fn threat(&self, eps: usize) -> ThreatModel {
        ThreatModel {
            norm: self.norm,
            eps: self.eps[eps].value() as f32,
        }
    }

    /// The name of the first setting that differs.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            ("the model", self.model_sha256 != other.model_sha256),
            (
                "the normalization",
                self.normalization != other.normalization,
            ),
            (
                "the detector",
                self.detector_sha256 != other.detector_sha256,
            ),
            ("the split", self.split != other.split),
            ("--seed", self.seed != other.seed),
            (
                "the images",
                (&self.images_hash, self.images) != (&other.images_hash, other.images),
            ),
            ("--norm", self.norm != other.norm),
            ("--eps", self.eps != other.eps),
            ("--attacks", self.attacks != other.attacks),
            ("--steps", self.steps != other.steps),
            ("--restarts", self.restarts != other.restarts),
            ("--queries", self.queries != other.queries),
            ("--sanity", self.sanity != other.sanity),
        ];
        differs
            .iter()
            .find(|(_, differs)| *differs)
            .map(|(name, _)| *name)
    }
}
