//! Evaluation of a model, and of a detector, on one split.

use base::Result;
use nn::model::Classifier;
use store::InMemorySplit;

use super::{
    auc, mixed,
    outcomes::{Outcomes, predictions},
};
use crate::{
    batch::BatchSource,
    methods::DetectorContext,
    metrics::{DetectorMetrics, OrderedMap},
};

/// A model's accuracies on a split, in `[0,1]`; `None` without images.
pub struct SplitMetrics {
    /// On clean images.
    pub clean: Option<f64>,
    /// On each attack's samples.
    pub attacks: OrderedMap<f64>,
    /// On the mixed set; none without attacks.
    pub mixed: Option<f64>,
    /// The detector's on the mixed set.
    pub detector: Option<DetectorMetrics>,
}

/// Settings of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct EvalConfig {
    /// Adversarial share of the mixed set.
    pub share: f64,
    /// Seed of the mixed set's permutation: the store's, so that all models get the same set.
    pub seed: u64,
    /// Images per batch.
    pub batch_size: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            share: 0.5,
            seed: 0,
            batch_size: 128,
        }
    }
}

/// Evaluates a model, and a detector where there is one.
pub fn evaluate_split(
    model: &dyn Classifier,
    detector: Option<DetectorContext>,
    table: &BatchSource,
    config: EvalConfig,
) -> Result<SplitMetrics> {
    let predictions = predictions(model, table, config.batch_size)?;
    let outcomes = Outcomes {
        table,
        predictions: &predictions,
    };
    let attacked = !table.attacks.is_empty();
    let detector = detector.filter(|_| attacked && !table.is_empty());
    let detector = detector
        .map(|detector| evaluate_detector(detector, table, config))
        .transpose()?;
    Ok(SplitMetrics {
        clean: outcomes.clean(),
        attacks: outcomes.attacks(),
        mixed: outcomes.mixed(config).filter(|_| attacked),
        detector,
    })
}

/// The detector's results on the mixed set.
fn evaluate_detector(
    context: DetectorContext,
    table: &BatchSource,
    config: EvalConfig,
) -> Result<DetectorMetrics> {
    let mixed = mixed::variants(table, config.share, config.seed);
    let rows: Vec<(usize, usize)> = mixed.iter().copied().enumerate().collect();
    let scores = detector_scores(context, table, &rows, config.batch_size)?;
    Ok(mixed_detection(table, &mixed, &scores))
}

/// The detector's scores of these (row, variant): logit of adversarial minus logit of clean.
pub(super) fn detector_scores(
    context: DetectorContext,
    table: &BatchSource,
    rows: &[(usize, usize)],
    batch_size: usize,
) -> Result<Vec<f32>> {
    let mut scores = Vec::with_capacity(rows.len());
    for rows in rows.chunks(batch_size) {
        let images = table.plain(rows)?;
        let maps = context.pretrained.features(&images)?.maps;
        let logits: Vec<Vec<f32>> = context.detector.forward(&maps, None)?.logits.to_vec2()?;
        scores.extend(logits.iter().map(|row| row[1] - row[0]));
    }
    Ok(scores)
}

/// Accuracy and ROC AUC on the mixed set, of the score of each row's variant.
pub(super) fn mixed_detection(
    table: &InMemorySplit,
    mixed: &[usize],
    scores: &[f32],
) -> DetectorMetrics {
    // A sample that equals its clean image is clean.
    let attacked = (mixed.iter().enumerate()).map(|(row, variant)| table.is_changed(row, *variant));
    let attacked: Vec<bool> = attacked.collect();
    let correct = scores.iter().zip(&attacked);
    let correct = correct.filter(|(score, attacked)| (**score > 0.0) == **attacked);
    DetectorMetrics {
        accuracy: correct.count() as f64 / scores.len().max(1) as f64,
        auc: auc::roc_auc(scores, &attacked),
    }
}
