//! Precision and determinism: parameters of every layer, given when a model is made.

use std::sync::{PoisonError, RwLock};

/// Numbers that models are computed with. Weights, losses and sums are always f32.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Precision {
    /// Everything in f32
    #[default]
    F32,
    /// Factors of products cut to TF32, on CUDA
    Tf32,
    /// Feature maps in bf16, sums in f32, on CUDA
    Bf16,
}

/// How a model is computed. The CPU always computes in f32 and deterministically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ComputeOptions {
    /// Numbers of feature maps and products on CUDA.
    pub precision: Precision,
    /// Restricts CUDA to algorithms that repeat to the bit.
    pub deterministic: bool,
}

static CHOSEN: RwLock<ComputeOptions> = RwLock::new(ComputeOptions {
    precision: Precision::F32,
    deterministic: false,
});

impl ComputeOptions {
    /// Makes these the options of models that are made after this.
    pub(crate) fn choose(self) {
        *CHOSEN.write().unwrap_or_else(PoisonError::into_inner) = self;
    }

    /// The options of models that are made now: the exact ones, unless others were chosen.
    pub fn chosen() -> Self {
        *CHOSEN.read().unwrap_or_else(PoisonError::into_inner)
    }
}
