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
    /// What is minimized. Left out of the JSON that a store keeps unless it is the margin, so that stores have the
    /// content hashes that they had before there was a choice.
    #[serde(default, skip_serializing_if = "Objective::is_distance")]
    pub objective: Objective,
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

/// What an image minimizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The squared distance plus `c` times the margin; the smallest success is the result.
    #[default]
    Distance,
    /// `c` times the margin alone, for as long as it is above 0; the first misclassified iterate is the result. So
    /// the paper's published code computes it: its distance is always 0.
    Margin,
}

impl Objective {
    fn is_distance(&self) -> bool {
        *self == Self::Distance
    }
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
        takes_start: false,
        strong: true,
        adversarial: true,
    };
    const OPTIONAL: &[&str] = &["objective"];

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Paper => Self {
                space: Space::Pixel,
                objective: Objective::Distance,
                target: Target::CleanRunnerUp,
                c: 1.0,
                confidence: 0.0,
                steps: 100,
                lr: 0.005,
                early_stop: false,
                on_failure: OnFailure::Last,
            },
            Preset::Published => Self {
                objective: Objective::Margin,
                ..Self::preset(Preset::Paper)
            },
            Preset::Standard => Self {
                space: Space::Tanh,
                objective: Objective::Distance,
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
