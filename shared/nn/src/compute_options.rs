//! Precision and determinism: parameters of every layer, given when a model is made.

use std::ops::Deref;

use candle_core::Device;

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
    /// Operands of matrix products and convolutions in TF32, on CUDA
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

/// A device and how the models on it are computed.
#[derive(Clone, Debug)]
pub struct ComputeDevice {
    /// The device.
    pub device: Device,
    /// Options of all models that are made for it.
    pub options: ComputeOptions,
}

impl Deref for ComputeDevice {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.device
    }
}

impl From<&ComputeDevice> for ComputeDevice {
    fn from(device: &ComputeDevice) -> Self {
        device.clone()
    }
}

/// With the default options: f32.
impl From<&Device> for ComputeDevice {
    fn from(device: &Device) -> Self {
        Self {
            device: device.clone(),
            options: ComputeOptions::default(),
        }
    }
}
