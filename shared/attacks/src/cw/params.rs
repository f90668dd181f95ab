//! Parameters of C&W: presets and range checks.

use serde::{Deserialize, Serialize};

use crate::{
    AttackTraits, Preset,
    params::{RangeCheck, in_range, steps_in_range},
    preset::Parameters,
};

/// The parameters of C&W.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cw {
    /// The variable that the optimizer moves.
    pub space: Space,
    /// The class that the margin compares the label's logit with.
    pub target: Target,
    /// Weight of the margin against the distance, 0 to 1e6.
    pub c: f64,
    /// Margin by which another class has to lead the label, in logits, 0 to 1000.
    pub confidence: f64,
    /// The most Adam steps an image takes.
    pub steps: u32,
    /// Adam's learning rate, 0 to 10.
    pub lr: f64,
    /// Whether an image stops once its objective has increased since the last check, of which
    /// there are ten.
    pub early_stop: bool,
    /// The result for an image that never fooled the model.
    pub on_failure: OnFailure,
}

/// The variable that the optimizer moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// `w` with `x = (tanh(w) + 1) / 2`, which never leaves `[0,1]`.
    Tanh,
    /// The pixels themselves; an iterate is classified after clipping.
    Pixel,
}

/// The class that the margin compares the label's logit with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The largest other logit, anew at each step.
    RunnerUp,
    /// The class that is second on the clean image.
    CleanRunnerUp,
}

/// The result for an image that never fooled the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The clean image.
    Clean,
    /// The last iterate, clipped.
    Last,
}

impl Parameters for Cw {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: true,
        needs_gradient: true,
        needs_style: false,
        strong: true,
        adversarial: true,
    };

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Paper => Self {
                space: Space::Pixel,
                target: Target::CleanRunnerUp,
                c: 1.0,
                confidence: 0.0,
                steps: 100,
                lr: 0.005,
                early_stop: false,
                on_failure: OnFailure::Last,
            },
            Preset::Standard => Self {
                space: Space::Tanh,
                target: Target::RunnerUp,
                c: 1.0,
                confidence: 0.0,
                steps: 100,
                lr: 0.01,
                early_stop: true,
                on_failure: OnFailure::Clean,
            },
        }
    }

    fn check(&self) -> RangeCheck {
        in_range("c", self.c, 0.0..=1e6)?;
        in_range("confidence", self.confidence, 0.0..=1e3)?;
        steps_in_range(self.steps)?;
        in_range("lr", self.lr, 0.0..=10.0)
    }
}
