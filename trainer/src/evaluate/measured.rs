//! Predictions and detector scores on every variant of a split, and the results that follow from them.

use base::{Error, Result};
use data::Split;
use nn::model::Classifier;
use store::InMemorySplit;

use super::{
    classes::classes,
    detection::detection,
    distance::curves,
    mixed,
    outcomes::{Outcomes, all_variants, predictions, surrogate_predictions},
    split::{EvalConfig, detector_scores, mixed_detection},
    thresholds::Thresholds,
};
use crate::{
    batch::BatchSource,
    methods::DetectorContext,
    metrics::{DetectorMetrics, OrderedMap},
    report::evaluation::{Baseline, Mixed, SplitResult},
};

/// A measured split.
pub struct MeasuredSplit {
    /// Which one.
    pub split: Split,
    /// Its rows, without pixels.
    table: InMemorySplit,
    /// The model's `[n, 1 + a]`.
    predictions: Vec<u8>,
    /// The detector's scores `[n, 1 + a]`; none without a detector, images or attacks.
    scores: Option<Vec<f32>>,
}

impl MeasuredSplit {
    /// Classifies every variant; scores them, too, where there is a detector.
    ///
    /// # Errors
    /// [`Error::NonFinite`] naming the image of a score that is not finite.
    pub fn measure(
        (split, table): (Split, BatchSource),
        model: &dyn Classifier,
        detector: Option<DetectorContext>,
        batch_size: usize,
    ) -> Result<Self> {
        let predictions = predictions(model, &table, batch_size)?;
        let detector = detector.filter(|_| !table.attacks.is_empty() && !table.is_empty());
        let scores = detector
            .map(|context| finite_scores(context, &table, &all_variants(&table), batch_size))
            .transpose()?;
        Ok(Self {
            split,
            table: table.without_pixels(),
            predictions,
            scores,
        })
    }

    /// The detector's scores of the clean images; empty without any.
    pub fn clean_scores(&self) -> Vec<f32> {
        let variants = 1 + self.table.attacks.len();
        let scores = self.scores.iter().flatten();
        scores.step_by(variants).copied().collect()
    }

    /// The results on the split.
    pub fn result(
        &self,
        config: EvalConfig,
        thresholds: &Thresholds,
        class_names: &[String],
    ) -> SplitResult {
        let table = &self.table;
        let outcomes = Outcomes {
            table,
            predictions: &self.predictions,
        };
        let scores = self.scores.as_deref();
        SplitResult {
            split: self.split.name().to_string(),
            images: table.len() as u64,
            clean: outcomes.clean(),
            attacks: outcomes.attacks(),
            worst_case: outcomes.worst_case(),
            mixed: Mixed {
                share: config.share,
                accuracy: outcomes.mixed(config),
            },
            detector: scores.map(|scores| self.detection_on_mixed(scores, config)),
            baseline: Some(baseline(table, config)),
            unchanged: unchanged(table),
            detection: scores.map(|scores| detection(&outcomes, scores, thresholds)),
            by_distance: curves(&outcomes),
            classes: classes(&outcomes, class_names),
        }
    }

    /// The detector's results on the mixed set.
    fn detection_on_mixed(&self, scores: &[f32], config: EvalConfig) -> DetectorMetrics {
        let variants = 1 + self.table.attacks.len();
        let mixed = mixed::variants(&self.table, config.share, config.seed);
        let of_mixed = mixed.iter().enumerate();
        let of_mixed: Vec<f32> = of_mixed
            .map(|(row, variant)| scores[row * variants + variant])
            .collect();
        mixed_detection(&self.table, &mixed, &of_mixed)
    }
}

/// The detector's scores of these (row, variant).
///
/// # Errors
/// [`Error::NonFinite`] naming the image of a score that is not finite.
pub fn finite_scores(
    context: DetectorContext,
    table: &BatchSource,
    rows: &[(usize, usize)],
    batch_size: usize,
) -> Result<Vec<f32>> {
    let scores = detector_scores(context, table, rows, batch_size)?;
    let infinite = scores.iter().position(|score| !score.is_finite());
    match infinite.and_then(|at| rows.get(at)) {
        None => Ok(scores),
        Some(&(row, _)) => Err(Error::NonFinite(format!(
            "image {}: the detector's score is not finite",
            table.ids[row]
        ))),
    }
}

/// The surrogate's results, from the store's predictions.
fn baseline(table: &InMemorySplit, config: EvalConfig) -> Baseline {
    let predictions = surrogate_predictions(table);
    let outcomes = Outcomes {
        table,
        predictions: &predictions,
    };
    Baseline {
        clean: outcomes.clean(),
        attacks: outcomes.attacks(),
        worst_case: outcomes.worst_case(),
        mixed: outcomes.mixed(config),
        by_distance: curves(&outcomes),
    }
}

/// Samples of each attack that equal their clean images.
fn unchanged(table: &InMemorySplit) -> OrderedMap<u64> {
    let count = |(name, variant): (&String, usize)| {
        let equal = (0..table.len()).filter(|row| !table.is_changed(*row, variant));
        (name.clone(), equal.count() as u64)
    };
    OrderedMap(table.attacks.iter().zip(1..).map(count).collect())
}
