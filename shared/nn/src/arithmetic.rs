//! How exactly models are computed: chosen once, when a program starts; every operation obeys.

use std::sync::{PoisonError, RwLock};

/// What numbers models are computed with. Weights, losses and sums are always f32.
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

/// How models are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ComputeOptions {
    /// What with.
    pub precision: Precision,
    /// On CUDA only by algorithms that repeat to the bit. The CPU always does.
    pub deterministic: bool,
}

static CHOSEN: RwLock<ComputeOptions> = RwLock::new(ComputeOptions {
    precision: Precision::F32,
    deterministic: false,
});

impl ComputeOptions {
    /// Makes this the arithmetic of the whole program, for models that are made after this.
    pub(super) fn choose(self) {
        *CHOSEN.write().unwrap_or_else(PoisonError::into_inner) = self;
        // Of candle's own products.
        candle_core::cuda::set_gemm_reduced_precision_f32(self.precision != Precision::F32);
    }

    /// The arithmetic of the program: exact, if nobody chose.
    pub fn chosen() -> Self {
        *CHOSEN.read().unwrap_or_else(PoisonError::into_inner)
    }
}
