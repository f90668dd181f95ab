//! Settings of what learns: the optimizer, the sampler, the detector.

use nn::model::DetectorInput;
use serde::{Deserialize, Serialize};

use crate::{
    sampler::{Options, Share},
    schedule::Schedule,
};

/// Stochastic gradient descent, and what is minimized and kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Base learning rate, at least 0.
    pub lr: f64,
    /// Momentum, at least 0.
    pub momentum: f64,
    /// Nesterov's step.
    #[serde(default)]
    pub nesterov: bool,
    /// Weight decay, at least 0.
    pub weight_decay: f64,
    /// Largest L2 norm of all gradients together, above 0; none for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Fraction of a label that is spread over all classes, 0 to 1, as PyTorch's `label_smoothing`.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Decay of the moving average of the weights that is evaluated and saved, in [0, 1); none without an average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Its schedule.
    pub schedule: Schedule,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            lr: 0.01,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            clip_norm: None,
            label_smoothing: 0.0,
            ema: None,
            schedule: Schedule::default(),
        }
    }
}

/// The sampler's settings, as on the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Adversarial share of the draws.
    pub adv_ratio: Share,
    /// The policy's name.
    pub policy: String,
    /// Bounds of single attacks.
    pub bounds: String,
    /// Steps between two redraws; redrawn every epoch without it.
    pub redraw_every: Option<u64>,
    /// Learning rate of the adaptive policy.
    pub eta: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            adv_ratio: Share::default(),
            policy: "uniform".into(),
            bounds: String::new(),
            redraw_every: None,
            eta: Options::default().eta,
        }
    }
}

/// The detector's settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// Weight of the cross entropy.
    pub alpha: f64,
    /// Weight of the Smooth L1 distance.
    pub beta: f64,
    /// Input feature maps of the detector.
    pub detector_input: DetectorInput,
    /// Its Transformer layers.
    pub detector_layers: usize,
    /// Its optimizer.
    #[serde(default)]
    pub detector_optimizer: DetectorOptimizer,
    /// Its base learning rate.
    pub detector_lr: f64,
    /// Its dropout.
    pub dropout: f64,
    /// How the two terms of the model's loss move its weights.
    #[serde(default)]
    pub updates: Updates,
}

/// The optimizer of the detector.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum DetectorOptimizer {
    /// SGD with the model's momentum and weight decay, as in the paper's code.
    #[default]
    Sgd,
    /// AdamW with the model's weight decay.
    Adamw,
}

/// How the two terms of the joint loss move the model's weights.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Updates {
    /// One step on their sum.
    #[default]
    Joint,
    /// A step on the cross entropy, then one on the distance: the published code's variant.
    TwoStage,
}

impl Default for Joint {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 1.0,
            detector_input: DetectorInput::Full,
            detector_layers: 2,
            detector_optimizer: DetectorOptimizer::default(),
            detector_lr: 0.01,
            dropout: 0.1,
            updates: Updates::default(),
        }
    }
}
