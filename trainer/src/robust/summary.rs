//! Format of `robust.json`: robust accuracy under each budget and attack, the detector's results, sanity checks.
//! Shares are fractions in `[0,1]`.

use std::path::Path;

use base::{Error, Result, files};
use robustness::Norm;
use serde::{Deserialize, Serialize};

use super::{interval::wilson, settings::RobustSettings, table::Rows};
use crate::{evaluate::FPR_PERCENT, metrics::OrderedMap, report::evaluation::Model};

/// The whole result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    /// The evaluated model.
    pub model: Model,
    /// SHA-256 of its file.
    pub model_sha256: String,
    /// The norm of perturbations.
    pub norm: Norm,
    /// The split of the images.
    pub split: String,
    /// How many images.
    pub images: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Steps, restarts and queries that were set, and not each attack's own.
    #[serde(default, skip_serializing_if = "OrderedMap::is_empty")]
    pub changed: OrderedMap<u64>,
    /// Accuracy on the clean images.
    pub clean: f64,
    /// A result for each budget.
    pub results: Vec<BudgetResult>,
    /// The model with its detector; none without one.
    pub detector: Option<DefenseResult>,
    /// Checks of the evaluation itself.
    pub sanity: Vec<SanityCheck>,
}

/// Accuracy under one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetResult {
    /// The budget in `[0,1]` units.
    pub eps: f64,
    /// Accuracy after each attack, in their order: an image counts if no attack so far has fooled the model.
    pub attacks: OrderedMap<f64>,
    /// Accuracy after all attacks.
    pub robust: f64,
    /// The 95 % Wilson interval of it.
    pub interval: [f64; 2],
}

/// The model with its detector, which rejects images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefenseResult {
    /// One threshold for each false positive rate.
    pub thresholds: Vec<DefenseThreshold>,
    /// A result for each budget.
    pub results: Vec<DefenseBudget>,
}

/// A threshold of the detector, from clean `val` images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefenseThreshold {
    /// The share of clean `val` images above it.
    pub fpr: f64,
    /// The score.
    pub threshold: f64,
    /// The share of clean evaluated images above it.
    pub measured_fpr: f64,
    /// The share of clean evaluated images that are accepted and classified correctly.
    pub clean: f64,
}

/// The defense under one budget, for each threshold in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DefenseBudget {
    /// The budget in `[0,1]` units.
    pub eps: f64,
    /// Success of each attack: the share of images that are misclassified and accepted.
    pub success: OrderedMap<[f64; 2]>,
    /// Success of any attack, or without any.
    pub any: [f64; 2],
    /// Robust accuracy with rejection: one minus that.
    pub robust: [f64; 2],
    /// Its 95 % Wilson intervals.
    pub interval: [[f64; 2]; 2],
}

/// A check of the evaluation itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SanityCheck {
    /// What is checked.
    pub name: String,
    /// Whether the value is within the limit.
    pub ok: bool,
    /// What was found.
    pub value: f64,
    /// What it may be at most.
    pub limit: f64,
    /// What it means where it is not ok.
    pub meaning: String,
}

impl Robustness {
    /// Reads a `robust.json`.
    ///
    /// # Errors
    /// [`Error::Data`] for another file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path)?;
        serde_json::from_str(&text)
            .map_err(|error| Error::data(path.display(), error, "a robust.json of this version"))
    }
}

/// Accuracies under each budget, of complete rows.
pub fn results(settings: &RobustSettings, rows: &Rows) -> Vec<BudgetResult> {
    let images = settings.images;
    let count = |eps: usize, column: usize| {
        (0..images)
            .filter(|&image| rows[&(image, eps)][column] == "1")
            .count()
    };
    let result = |(number, eps): (usize, &crate::eps::Eps)| {
        let share = |(column, name): (usize, &String)| {
            (name.clone(), count(number, column) as f64 / images as f64)
        };
        let robust = count(number, settings.attacks.len());
        BudgetResult {
            eps: eps.value(),
            attacks: OrderedMap(settings.attacks.iter().enumerate().map(share).collect()),
            robust: robust as f64 / images as f64,
            interval: wilson(robust, images),
        }
    };
    settings.eps.iter().enumerate().map(result).collect()
}

/// A clean image as the defense sees it.
#[derive(Clone, Copy)]
pub struct CleanVerdict {
    /// Whether the classifier is right.
    pub correct: bool,
    /// The detector's score.
    pub score: f32,
}

/// The defense's results, of complete rows.
pub fn defense(
    settings: &RobustSettings,
    thresholds: [f32; FPR_PERCENT.len()],
    clean: &[CleanVerdict],
    (columns, rows): (&[String], &Rows),
) -> DefenseResult {
    let share = |count: usize| count as f64 / clean.len() as f64;
    let threshold = |(&percent, threshold): (&usize, f32)| DefenseThreshold {
        fpr: percent as f64 / 100.0,
        threshold: f64::from(threshold),
        measured_fpr: share(clean.iter().filter(|image| image.score > threshold).count()),
        clean: share(
            clean
                .iter()
                .filter(|image| image.correct && image.score <= threshold)
                .count(),
        ),
    };
    let budget = |(number, eps): (usize, &crate::eps::Eps)| {
        let fooled = |image: usize, column: usize, threshold: f32| {
            let score: Option<f32> = rows[&(image, number)][column].parse().ok();
            score.is_some_and(|score| score <= threshold)
        };
        let clean_fooled =
            |image: &CleanVerdict, threshold: f32| !image.correct && image.score <= threshold;
        let success = |(column, name): (usize, &String)| {
            let count = |threshold| {
                share(
                    (0..clean.len())
                        .filter(|&image| fooled(image, column, threshold))
                        .count(),
                )
            };
            (name.clone(), thresholds.map(count))
        };
        let any = thresholds.map(|threshold| {
            let fooled = |image: &usize| {
                clean_fooled(&clean[*image], threshold)
                    || (0..columns.len()).any(|column| fooled(*image, column, threshold))
            };
            (0..clean.len()).filter(fooled).count()
        });
        DefenseBudget {
            eps: eps.value(),
            success: OrderedMap(columns.iter().enumerate().map(success).collect()),
            any: any.map(share),
            robust: any.map(|count| share(clean.len() - count)),
            interval: any.map(|count| wilson(clean.len() - count, clean.len())),
        }
    };
    DefenseResult {
        thresholds: FPR_PERCENT.iter().zip(thresholds).map(threshold).collect(),
        results: settings.eps.iter().enumerate().map(budget).collect(),
    }
}
