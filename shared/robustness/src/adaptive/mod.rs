//! Adaptive attacks on a classifier with a detector: one row each, all of them PGD with another objective. An
//! attack succeeds where the classifier is wrong and the detector accepts.

pub mod defense;
mod objectives;

use base::Result;

pub use self::objectives::Goal;
use self::{defense::Defense, objectives::AdaptiveObjective};
use crate::{Found, Settings, ThreatModel, pgd::Pgd, search::Search};

/// Steps where the settings name none.
const STEPS: u32 = 100;

/// A row of [`ADAPTIVE_ATTACKS`].
pub struct AdaptiveAttack {
    /// Name in files.
    pub name: &'static str,
    /// Name in reports.
    pub label: &'static str,
    /// Whether it takes the detector into account.
    pub is_adaptive: bool,
    /// Objectives that it increases, one after the other, each from starts of its own.
    pub goals: &'static [Goal],
}

/// The attack that ignores the detector, for comparison, and the adaptive ones.
pub const ADAPTIVE_ATTACKS: &[AdaptiveAttack] = &[
    AdaptiveAttack {
        name: "classifier-only",
        label: "PGD (classifier only)",
        is_adaptive: false,
        goals: &[Goal::ClassifierOnly],
    },
    AdaptiveAttack {
        name: "joint-loss",
        label: "Joint loss",
        is_adaptive: true,
        goals: &[
            Goal::Joint { weight: 1.0 },
            Goal::Joint { weight: 0.1 },
            Goal::Joint { weight: 10.0 },
        ],
    },
    AdaptiveAttack {
        name: "selective-pgd",
        label: "Selective PGD",
        is_adaptive: true,
        goals: &[Goal::Selective],
    },
    AdaptiveAttack {
        name: "orthogonal-pgd",
        label: "Orthogonal PGD",
        is_adaptive: true,
        goals: &[Goal::Orthogonal],
    },
    AdaptiveAttack {
        name: "feature-matching",
        label: "Feature matching",
        is_adaptive: true,
        goals: &[Goal::FeatureMatching],
    },
];

impl AdaptiveAttack {
    /// For each image of the defense's batch the misclassified point with the lowest score that was found; an
    /// image is left alone once that is at most the threshold. `guides` are clean images of another class, `3072`
    /// numbers for each image.
    pub fn attack(
        &self,
        defense: &Defense,
        guides: &[f32],
        threat: &ThreatModel,
        settings: &Settings,
    ) -> Result<Vec<Option<Found>>> {
        let batch = defense.batch;
        let restarts = settings.restarts.unwrap_or(1);
        let mut best: Vec<Option<Found>> = vec![None; batch.len()];
        for (index, &goal) in self.goals.iter().enumerate() {
            let objective = AdaptiveObjective {
                defense,
                goal,
                guides,
            };
            let mut search = Search::resume(&objective, best);
            let steps = settings.steps.unwrap_or(STEPS);
            let mut pgd = Pgd::usual(steps, restarts, threat, self.name, settings.seed);
            pgd.attempt = index as u64;
            pgd.continue_search(&mut search, &objective, batch, threat)?;
            best = search.into_found();
        }
        Ok(best)
    }
}
