//! Sanity checks of an evaluation of robustness (Carlini et al., "On evaluating adversarial robustness", 2019, and
//! the flags of AutoAttack): one function and one row each. A check that is not ok says what it means.
//!
//! They run on the first images of the evaluation, under its first budget unless they say otherwise.

mod by_attack;
mod outputs;
mod results;

use base::{Result, progress::Progress};
use robustness::{
    Batch, Target, ThreatModel, loss::Loss, objective::ClassifierObjective, pgd::Pgd,
};

use super::{
    settings::RobustSettings,
    summary::{BudgetResult, DefenseResult, SanityCheck},
    table::Rows,
};

/// What the checks look at.
pub struct Evidence<'a> {
    /// The model.
    pub target: &'a Target<'a>,
    /// The first images.
    pub batch: &'a Batch,
    /// The settings.
    pub settings: &'a RobustSettings,
    /// The results under each budget.
    pub results: &'a [BudgetResult],
    /// The table they are from.
    pub rows: &'a Rows,
    /// The defense's results, with the columns and rows they are from.
    pub defense: Option<(&'a DefenseResult, &'a [String], &'a Rows)>,
    /// The pretrained model, which is not robust.
    pub natural: Option<&'a Target<'a>>,
}

type Check = fn(&Evidence) -> Result<Option<(f64, f64)>>;

/// Name, function (value and limit; none where it does not apply) and the meaning of a failure.
const CHECKS: &[(&str, Check, &str)] = &[
    (
        "accuracy under PGD minus accuracy under one step",
        by_attack::one_step,
        "one large step is stronger than many small ones: gradients are masked",
    ),
    (
        "accuracy under PGD of 100 minus 200 steps",
        by_attack::more_steps,
        "more steps still find more: raise --steps",
    ),
    (
        "accuracy under PGD of 10 minus 20 restarts",
        by_attack::more_restarts,
        "more restarts still find more: raise --restarts",
    ),
    (
        "rise of accuracy with the budget",
        results::monotone,
        "a larger budget gives higher accuracy: the attacks are too weak",
    ),
    (
        "accuracy under a budget that allows any image (Linf 64/255, L2 8)",
        by_attack::unbounded,
        "the model resists what nothing can resist: gradients are masked or the evaluation is wrong",
    ),
    (
        "robust images that random noise fools",
        by_attack::random_search,
        "noise finds what the attacks do not: gradients are masked",
    ),
    (
        "images that only the black-box attack fools",
        results::black_box_gain,
        "an attack without gradients is stronger: gradients are masked",
    ),
    (
        "images whose gradient is zero",
        outputs::zero_gradients,
        "the cross entropy has no gradient there: see that apgd-dlr, apgd-t or pgd-margin are among the attacks",
    ),
    (
        "outputs that are probabilities",
        outputs::probabilities,
        "the model ends in a softmax, which hides gradients: evaluate its logits",
    ),
    (
        "difference between passes of the same images",
        outputs::random_outputs,
        "the outputs are random: single gradients mean little",
    ),
    (
        "share of the loss gained in the last tenth of APGD",
        by_attack::plateau,
        "the loss still rises: raise --steps",
    ),
    (
        "images that only the attack on the classifier alone brings past the detector",
        results::adaptive,
        "the adaptive attacks are weaker than the one that ignores the detector: raise --steps",
    ),
    (
        "accuracy of the pretrained model under PGD (Linf 8/255, L2 0.5)",
        by_attack::natural,
        "a model without defense should have none: the attacks are too weak, or it was trained against them",
    ),
];

/// Runs all checks.
pub fn run(evidence: &Evidence) -> Result<Vec<SanityCheck>> {
    if evidence.batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut bar = Progress::new("sanity checks", CHECKS.len() as u64);
    let mut done = Vec::new();
    for &(name, check, meaning) in CHECKS {
        if let Some((value, limit)) = check(evidence)? {
            done.push(SanityCheck {
                name: name.into(),
                ok: value <= limit,
                value,
                limit,
                meaning: meaning.into(),
            });
        }
        bar.add(1, name);
    }
    bar.finish();
    Ok(done)
}

impl Evidence<'_> {
    fn threat(&self) -> ThreatModel {
        self.budget(self.settings.eps[0].value())
    }

    fn budget(&self, eps: f64) -> ThreatModel {
        ThreatModel {
            norm: self.settings.norm,
            eps: eps as f32,
        }
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.batch.len() as f64
    }

    /// The rows that are robust under the first budget in the whole evaluation.
    fn robust(&self) -> Vec<usize> {
        let last = self.settings.attacks.len();
        (0..self.batch.len())
            .filter(|&row| self.rows[&(row, 0)][last] == "1")
            .collect()
    }

    fn objective<'b>(&'b self, target: &'b Target, batch: &'b Batch) -> ClassifierObjective<'b> {
        ClassifierObjective::untargeted(target, batch, Loss::CrossEntropy)
    }

    fn correct(&self, target: &Target) -> Result<Batch> {
        let batch = self.batch;
        let logits = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
        let correct: Vec<usize> = (0..batch.len())
            .filter(|&row| attacks::logits::argmax(&logits[row]) == batch.labels[row])
            .collect();
        Ok(batch.select(&correct))
    }

    /// Accuracy of a model under PGD on the cross entropy.
    fn pgd(&self, target: &Target, threat: &ThreatModel, steps: u32, restarts: u32) -> Result<f64> {
        let batch = self.correct(target)?;
        let objective = self.objective(target, &batch);
        let pgd = Pgd::usual(steps, restarts, threat, "sanity", self.settings.seed);
        let search = pgd.run(&objective, &batch, threat)?;
        Ok(self.share(search.open().len()))
    }
}
