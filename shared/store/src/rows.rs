//! Rows of the tables `image`, `sample`, `attack` and `model`, as plain values for writing and reading.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pixels::Pixels;
use data::{Image, Sample, Split};
pub use kernels::distances;

/// A clean image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRow {
    /// The image's number in the store, and the key of its random numbers.
    pub id: u64,
    /// Its split.
    pub split: Split,
    /// Position among the source's training images (`Train`, `Val`) or test images (`Test`).
    pub source_index: u32,
    /// True class, from 0.
    pub label: u8,
    /// As bytes.
    pub pixels: Pixels,
    /// The surrogate's prediction for the clean image.
    pub clean_pred: u8,
}

impl ImageRow {
    /// The row of an image of a data set.
    pub fn new(id: u64, split: Split, image: &Image, clean_pred: u8) -> Self {
        Self {
            id,
            split,
            source_index: image.source_index,
            label: image.label,
            pixels: image.pixels.clone().into(),
            clean_pred,
        }
    }
}

/// An adversarial sample of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRow {
    /// The image it was made from.
    pub image_id: u64,
    /// The attack that made it.
    pub attack_id: i64,
    /// As bytes.
    pub pixels: Pixels,
    /// The surrogate's prediction for these bytes.
    pub pred: u8,
    /// The surrogate's prediction for the floats before they were quantized.
    pub pred_float: u8,
    /// L2 distance of the bytes from the clean ones, in units of `[0,1]`; see [`distances`].
    pub l2: f64,
    /// Linf distance likewise.
    pub linf: f64,
    /// Steps that the attack took.
    pub steps: u32,
}

impl SampleRow {
    /// The row of what an attack made of an image.
    pub fn new(image_id: u64, attack_id: i64, sample: Sample) -> Self {
        Self {
            image_id,
            attack_id,
            pixels: sample.pixels.into(),
            pred: sample.pred,
            pred_float: sample.pred_float,
            l2: sample.l2,
            linf: sample.linf,
            steps: sample.steps,
        }
    }
}

/// An attack and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackRow {
    /// From 1; the samples of an image are in the order of these ids.
    pub id: i64,
    /// Such as `fgsm`.
    pub name: String,
    /// Every parameter as resolved, a JSON object.
    pub params: String,
    /// The surrogate's id.
    pub model_id: i64,
}

/// The surrogate: the model that was attacked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    /// 1: a store has one surrogate.
    pub id: i64,
    /// Architecture and width, for people.
    pub name: String,
    /// SHA-256 of `weights`, lower-case hex.
    pub sha256: String,
    /// Architecture, width and the rest of the weights' metadata, a JSON object.
    pub config: String,
    /// A safetensors file. JSON leaves it out.
    #[serde(skip)]
    pub weights: Vec<u8>,
}

impl ModelRow {
    /// The row of a surrogate; computes the hash of its weights.
    pub fn new(name: impl Into<String>, config: impl Into<String>, weights: Vec<u8>) -> Self {
        Self {
            id: 1,
            name: name.into(),
            sha256: sha256(&weights),
            config: config.into(),
            weights,
        }
    }
}

impl std::fmt::Debug for ModelRow {
    /// Leaves the megabytes of weights out.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("ModelRow")
            .field("name", &self.name)
            .field("sha256", &self.sha256)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
