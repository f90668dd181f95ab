//! Evaluation of a model, and of a detector, on one split.

use base::Result;
use nn::model::{Classifier, predicted_classes};
use store::InMemorySplit;

use super::{auc, mixed};
use crate::{
    batch::BatchSource,
    methods::DetectorContext,
    metrics::{DetectorMetrics, OrderedMap},
};

/// A model's accuracies on a split, as parts of 1; none without images.
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
    let variants = 1 + table.attacks.len();
    let all: Vec<(usize, usize)> = (0..table.len())
        .flat_map(|row| (0..variants).map(move |variant| (row, variant)))
        .collect();
    let mut correct = Vec::with_capacity(all.len());
    for rows in all.chunks(config.batch_size) {
        let images = table.plain(rows)?;
        let classes = predicted_classes(&model.logits(&images)?)?;
        let labels = rows.iter().map(|&(row, _)| table.labels[row]);
        correct.extend(
            classes
                .iter()
                .zip(labels)
                .map(|(class, label)| *class == label),
        );
    }
    let is_correct = |row: usize, variant: usize| correct[row * variants + variant];
    let (clean, attacks, mixed) = accuracies(table, config, is_correct);
    let detector = detector.filter(|_| variants > 1 && !table.is_empty());
    let detector = detector
        .map(|detector| evaluate_detector(detector, table, config))
        .transpose()?;
    Ok(SplitMetrics {
        clean,
        attacks,
        mixed: mixed.filter(|_| variants > 1),
        detector,
    })
}

/// Accuracies on the clean images, on each attack's samples and on the mixed set; `is_correct` tells whether the
/// model classifies a (row, variant) correctly.
pub(super) fn accuracies(
    table: &InMemorySplit,
    config: EvalConfig,
    is_correct: impl Fn(usize, usize) -> bool,
) -> (Option<f64>, OrderedMap<f64>, Option<f64>) {
    if table.is_empty() {
        return (None, OrderedMap::default(), None);
    }
    let part = |count: usize| count as f64 / table.len() as f64;
    let on = |variant: usize| {
        part(
            (0..table.len())
                .filter(|row| is_correct(*row, variant))
                .count(),
        )
    };
    let attacks = table.attacks.iter().enumerate();
    let mixed = mixed::variants(table, config.share, config.seed);
    let mixed = mixed.iter().enumerate();
    (
        Some(on(0)),
        OrderedMap(attacks.map(|(i, name)| (name.clone(), on(1 + i))).collect()),
        Some(part(
            mixed
                .filter(|(row, variant)| is_correct(*row, **variant))
                .count(),
        )),
    )
}

/// The detector's results on the mixed set.
fn evaluate_detector(
    context: DetectorContext,
    table: &BatchSource,
    config: EvalConfig,
) -> Result<DetectorMetrics> {
    let mixed = mixed::variants(table, config.share, config.seed);
    let rows: Vec<(usize, usize)> = mixed.iter().copied().enumerate().collect();
    let mut scores = Vec::with_capacity(rows.len());
    for rows in rows.chunks(config.batch_size) {
        let images = table.plain(rows)?;
        let maps = context.pretrained.features(&images)?.maps;
        let logits: Vec<Vec<f32>> = context.detector.forward(&maps, None)?.logits.to_vec2()?;
        scores.extend(logits.iter().map(|row| row[1] - row[0]));
    }
    // A sample that equals its clean image is clean.
    let attacked = (mixed.iter().enumerate()).map(|(row, variant)| table.is_changed(row, *variant));
    let attacked: Vec<bool> = attacked.collect();
    let correct = scores.iter().zip(&attacked);
    let correct = correct.filter(|(score, attacked)| (**score > 0.0) == **attacked);
    Ok(DetectorMetrics {
        accuracy: correct.count() as f64 / scores.len().max(1) as f64,
        auc: auc::roc_auc(&scores, &attacked),
    })
}
