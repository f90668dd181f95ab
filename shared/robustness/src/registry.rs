//! Registry of the evaluation attacks: one row each, under the names of `--attacks`, `robust.json` and
//! `images.csv`.

use attacks::logits::argmax;
use base::{Error, Result};

use super::{Batch, Norm, Target, ThreatModel, apgd, fab, loss::Loss, pgd, square};

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

/// Attacks images that the model classifies correctly: one outcome for each, in order. Where it is
/// `Some`, the model's argmax is not the label there, and the point is in the ball.
pub type RunAttack = fn(&Target, &Batch, &ThreatModel, &Settings) -> Result<Vec<Outcome>>;

/// A row of the registry.
#[derive(Debug)]
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
    pub run: RunAttack,
}

const BOTH: &[Norm] = &[Norm::Linf, Norm::L2];

/// All evaluation attacks. A new one is a file beside this one, and a row here.
pub const ATTACKS: &[EvaluationAttack] = &[
    EvaluationAttack {
        name: "pgd",
        label: "PGD",
        about: "PGD on the cross entropy, 20 steps from random starts",
        norms: BOTH,
        min_classes: Loss::CrossEntropy.min_classes(),
        run: |target, batch, threat, settings| {
            pgd::on_classifier(target, batch, threat, settings, Loss::CrossEntropy, "pgd")
        },
    },
    EvaluationAttack {
        name: "pgd-margin",
        label: "PGD (margin)",
        about: "PGD on the margin of the logits, which does not saturate on confident models",
        norms: BOTH,
        min_classes: Loss::Margin.min_classes(),
        run: |target, batch, threat, settings| {
            pgd::on_classifier(target, batch, threat, settings, Loss::Margin, "pgd-margin")
        },
    },
    EvaluationAttack {
        name: "apgd-ce",
        label: "APGD-CE",
        about: "Auto-PGD on the cross entropy, 100 iterations",
        norms: BOTH,
        min_classes: Loss::CrossEntropy.min_classes(),
        run: |target, batch, threat, settings| {
            apgd::untargeted(
                target,
                batch,
                threat,
                settings,
                Loss::CrossEntropy,
                "apgd-ce",
            )
        },
    },
    EvaluationAttack {
        name: "apgd-dlr",
        label: "APGD-DLR",
        about: "Auto-PGD on the difference of logits ratio, 100 iterations",
        norms: BOTH,
        min_classes: Loss::Dlr.min_classes(),
        run: |target, batch, threat, settings| {
            apgd::untargeted(target, batch, threat, settings, Loss::Dlr, "apgd-dlr")
        },
    },
    EvaluationAttack {
        name: "apgd-t",
        label: "APGD-T",
        about: "Auto-PGD on the targeted difference of logits ratio, for nine classes in turn",
        norms: BOTH,
        min_classes: Loss::TargetedDlr.min_classes(),
        run: apgd::targeted,
    },
    EvaluationAttack {
        name: "fab-t",
        label: "FAB-T",
        about: "targeted fast adaptive boundary attack, 100 steps for each of nine classes in turn",
        norms: BOTH,
        min_classes: 2,
        run: fab::fab_t,
    },
    EvaluationAttack {
        name: "square",
        label: "Square",
        about: "random search by logits alone, 5000 queries",
        norms: BOTH,
        min_classes: 2,
        run: square::square,
    },
];

impl EvaluationAttack {
    /// PGD on the cross entropy.
    pub const PGD: &'static Self = &ATTACKS[0];

    /// The attack of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ATTACKS.iter().find(|attack| attack.name == name)
    }

    /// Refuses a norm or a number of classes that the attack does not have.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check(&self, norm: Norm, classes: usize) -> Result<()> {
        let (name, least) = (self.name, self.min_classes);
        if !self.norms.contains(&norm) {
            return Err(Error::Usage(format!("{name}: it has no norm {norm}")));
        }
        if classes < least {
            return Err(Error::Usage(format!(
                "{name}: found a model of {classes} classes, expected at least {least}"
            )));
        }
        Ok(())
    }

    /// Attacks a batch; an image that the model misclassifies is its own adversarial example.
    ///
    /// # Errors
    /// As [`Self::check`], and what the model's passes refuse.
    pub fn attack(
        &self,
        target: &Target,
        batch: &Batch,
        threat: &ThreatModel,
        settings: &Settings,
    ) -> Result<Vec<Outcome>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let logits = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
        self.check(threat.norm, logits.first().map_or(0, Vec::len))?;
        let mut outcomes: Vec<Outcome> = vec![None; batch.len()];
        let mut correct = Vec::new();
        for (row, logits) in logits.iter().enumerate() {
            match argmax(logits) == batch.labels[row] {
                true => correct.push(row),
                false => outcomes[row] = Some(batch.image(row).to_vec()),
            }
        }
        if !correct.is_empty() {
            let found = (self.run)(target, &batch.select(&correct), threat, settings)?;
            for (row, outcome) in correct.into_iter().zip(found) {
                outcomes[row] = outcome;
            }
        }
        Ok(outcomes)
    }
}

/// AutoAttack's standard set, in its order (Croce & Hein 2020, "Reliable evaluation of adversarial
/// robustness with an ensemble of diverse parameter-free attacks").
pub const AUTOATTACK: [&str; 4] = ["apgd-ce", "apgd-t", "fab-t", "square"];
