//! C&W, L2 (Carlini and Wagner, "Towards evaluating the robustness of neural networks", 2017):
//! an optimizer looks for the smallest perturbation that changes the class.
//!
//! Each image minimizes `|x - clean|^2 + c * max(margin + confidence, 0)`, where the margin is
//! the label's logit less another one's. The best iterate is the smallest that is fooled with
//! the confidence asked for.

use serde::{Deserialize, Serialize};

use super::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    check::{Check, number, steps},
    cohort::{Cohort, select},
    logits,
    preset::Parameters,
    search::Search,
};
use base::Result;
use nn::model::Classifier;

/// The parameters of the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cw {
    /// What the optimizer moves.
    pub space: Space,
    /// The class whose logit the label's is measured against.
    pub target: Target,
    /// Weight of the margin against the distance, 0 to 1e6.
    pub c: f64,
    /// How far ahead of the label another class has to be, in logits, 0 to 1000.
    pub confidence: f64,
    /// The most Adam steps an image takes.
    pub steps: u32,
    /// Adam's learning rate, 0 to 10.
    pub lr: f64,
    /// Ten times on the way, an image whose objective rose since the last look leaves.
    pub early_stop: bool,
    /// What an image becomes that was never fooled.
    pub on_failure: OnFailure,
}

/// What the optimizer moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// `w` with `x = (tanh(w) + 1) / 2`, which never leaves `[0,1]`.
    Tanh,
    /// The pixels themselves; an iterate is judged after clipping.
    Pixel,
}

/// The class whose logit the label's is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The largest other logit, anew at each step.
    RunnerUp,
    /// The class that is second on the clean image.
    CleanRunnerUp,
}

/// What an image becomes that was never fooled.
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

    fn check(&self) -> Check {
        number("c", self.c, 0.0..=1e6)?;
        number("confidence", self.confidence, 0.0..=1e3)?;
        steps(self.steps)?;
        number("lr", self.lr, 0.0..=10.0)
    }
}

impl Attack for Cw {
    /// An image that the model gets wrong already is left as it is.
    fn perturb(&self, net: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        batch.check()?;
        let mut cohort = Cohort::new(batch.ids.len());
        let mut taken = vec![0; batch.ids.len()];
        let rows = logits::rows(&net.logits(&batch.images)?, batch.ids)?;
        let wrong: Vec<bool> = std::iter::zip(&rows, batch.labels)
            .map(|(row, &label)| logits::predicted(row) != label)
            .collect();
        let mut clean = batch.images.clone();
        if let Some(stay) = cohort.dismiss(&wrong, &clean)? {
            clean = select(&clean, &stay)?;
        }
        if cohort.members().is_empty() {
            return Ok(Perturbed {
                images: cohort.finish(&clean)?,
                steps: taken,
            });
        }

        let rows = cohort.of(&rows);
        let (ids, labels) = (cohort.of(batch.ids), cohort.of(batch.labels));
        let mut search = Search::new(self, clean, ids, labels, &rows)?;
        let interval = (self.steps / 10).max(1);
        for step in 0..self.steps {
            search.step(self, net)?;
            cohort.members().iter().for_each(|&row| taken[row] += 1);
            if self.early_stop && step % interval == 0 {
                let risen = search.risen_since_last_look();
                if let Some(stay) = cohort.dismiss(&risen, &search.result(self)?)? {
                    search.keep(&stay)?;
                }
                if cohort.members().is_empty() {
                    break;
                }
            }
        }
        Ok(Perturbed {
            images: cohort.finish(&search.result(self)?)?,
            steps: taken,
        })
    }
}
