//! Registry of the evaluation attacks: one row each, under the names of `--attacks`, `robust.json` and
//! `images.csv`.

use base::Result;

use super::{Batch, Norm, Target, ThreatModel, fab, square};

/// What an attack found for an image: an adversarial example (`3072` pixels in the ball), or nothing.
pub type Outcome = Option<Vec<f32>>;

/// Settings that attacks share; `None` is the attack's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    /// Steps of gradient attacks.
    pub steps: Option<u32>,
    /// Random restarts of gradient attacks.
    pub restarts: Option<u32>,
    /// Queries of black-box attacks.
    pub queries: Option<u32>,
    /// Seed of all random numbers.
    pub seed: u64,
}

/// Attacks a batch: one outcome for each image, in order. Where it is `Some`, the model's argmax is not
/// the label there.
pub type Run = fn(&Target, &Batch, &ThreatModel, &Settings) -> Result<Vec<Outcome>>;

/// A row of the registry.
pub struct EvaluationAttack {
    /// Name on command lines and in files.
    pub name: &'static str,
    /// Name in reports.
    pub label: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Norms that it has.
    pub norms: &'static [Norm],
    /// The classes that its loss needs at least.
    pub min_classes: usize,
    /// The attack.
    pub run: Run,
}

const BOTH: &[Norm] = &[Norm::Linf, Norm::L2];

/// All evaluation attacks.
pub const ATTACKS: &[EvaluationAttack] = &[
    EvaluationAttack {
        name: "fab-t",
        label: "FAB-T",
        about: "targeted fast adaptive boundary attack (Croce & Hein 2020)",
        norms: BOTH,
        min_classes: 2,
        run: fab::fab_t,
    },
    EvaluationAttack {
        name: "square",
        label: "Square",
        about: "random search by logits alone (Andriushchenko et al. 2020)",
        norms: BOTH,
        min_classes: 2,
        run: square::square,
    },
];

/// AutoAttack's standard set, in its order (Croce & Hein 2020, "Reliable evaluation of adversarial
/// robustness with an ensemble of diverse parameter-free attacks").
pub const AUTOATTACK: [&str; 4] = ["apgd-ce", "apgd-t", "fab-t", "square"];
