//! Settings of attacks during training: on the training images, and on those of `val`, by which the best model may be
//! selected.

use serde::{Deserialize, Serialize};

use crate::eps::Eps;

/// The attack on the model that is trained: signed-gradient steps in an Linf ball.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perturbation {
    /// Radius of the ball.
    pub eps: Eps,
    /// Steps for each batch.
    pub steps: u32,
    /// Size of a step.
    pub step_size: Eps,
    /// Weight of the divergence between clean and attacked outputs (TRADES).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Epochs after which kept perturbations begin anew (ATTA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<u32>,
    /// Size of the adversarial weight perturbation relative to each weight's norm; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awp: Option<f64>,
}

impl Perturbation {
    /// Without the values that a method of these defaults does not have.
    pub fn without_unused(self, defaults: &Self) -> Self {
        Self {
            beta: self.beta.filter(|_| defaults.beta.is_some()),
            reset: self.reset.filter(|_| defaults.reset.is_some()),
            ..self
        }
    }
}

/// The attack on `val` images after each epoch: PGD on the cross entropy from random starts, Linf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobustVal {
    /// Images that are attacked: always the same, all of `val` if it has fewer.
    pub images: usize,
    /// Radius of the ball.
    pub eps: Eps,
    /// Steps.
    pub steps: u32,
}

impl RobustVal {
    /// The attack in a ball of this radius.
    pub fn new(images: usize, eps: Eps) -> Self {
        Self {
            images,
            eps,
            steps: 10,
        }
    }
}

/// What makes a model the best one so far.
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
pub enum Select {
    /// Accuracy on the mixed set of `val`, or on clean images where there is none.
    #[default]
    Mixed,
    /// Accuracy on the clean images of `val`.
    Clean,
    /// Accuracy on `val` under attack.
    Robust,
}
