//! Outcomes of a classifier on every variant of a split's images: accuracies, and the worst case over the stored
//! samples of each image.

use base::Result;
use nn::model::{Classifier, predicted_classes};
use store::InMemorySplit;

use super::{mixed, split::EvalConfig};
use crate::{batch::BatchSource, metrics::OrderedMap};

/// A classifier's predictions `[n, 1 + a]`: of each image the clean one, then each attack's sample.
pub fn predictions(
    model: &dyn Classifier,
    table: &BatchSource,
    batch_size: usize,
) -> Result<Vec<u8>> {
    let all = all_variants(table);
    let mut predictions = Vec::with_capacity(all.len());
    for rows in all.chunks(batch_size) {
        let images = table.plain(rows)?;
        predictions.extend(predicted_classes(&model.logits(&images)?)?);
    }
    Ok(predictions)
}

/// The surrogate's predictions `[n, 1 + a]`, from the store.
pub fn surrogate_predictions(table: &InMemorySplit) -> Vec<u8> {
    let attacks = table.attacks.len();
    let of_row = |row: usize| {
        let samples = &table.preds[row * attacks..(row + 1) * attacks];
        std::iter::once(table.clean_preds[row]).chain(samples.iter().copied())
    };
    (0..table.len()).flat_map(of_row).collect()
}

/// Every (row, variant) of a split, the variants of a row together.
pub fn all_variants(table: &InMemorySplit) -> Vec<(usize, usize)> {
    let variants = 1 + table.attacks.len();
    (0..table.len())
        .flat_map(|row| (0..variants).map(move |variant| (row, variant)))
        .collect()
}

/// What a classifier's predictions on a split mean. Accuracies are in `[0,1]`, `None` without images.
#[derive(Clone, Copy)]
pub struct Outcomes<'a> {
    /// The split; its pixels are not used.
    pub table: &'a InMemorySplit,
    /// `[n, 1 + a]`, as [`predictions`] returns them.
    pub predictions: &'a [u8],
}

impl Outcomes<'_> {
    /// The prediction on a variant.
    pub fn prediction(&self, row: usize, variant: usize) -> u8 {
        self.predictions[row * (1 + self.table.attacks.len()) + variant]
    }

    /// Whether a variant is classified correctly.
    pub fn is_correct(&self, row: usize, variant: usize) -> bool {
        self.prediction(row, variant) == self.table.labels[row]
    }

    /// Whether a sample fools the classifier: it is misclassified, and its clean image is not.
    pub fn is_fooled(&self, row: usize, variant: usize) -> bool {
        self.is_correct(row, 0) && !self.is_correct(row, variant)
    }

    /// On the clean images.
    pub fn clean(&self) -> Option<f64> {
        self.share(|row| self.is_correct(row, 0))
    }

    /// On each attack's samples; empty without images.
    pub fn attacks(&self) -> OrderedMap<f64> {
        let named = self.table.attacks.iter().zip(1..);
        let accuracy = |(name, variant): (&String, usize)| {
            let share = self.share(|row| self.is_correct(row, variant))?;
            Some((name.clone(), share))
        };
        OrderedMap(named.filter_map(accuracy).collect())
    }

    /// On the mixed set.
    pub fn mixed(&self, config: EvalConfig) -> Option<f64> {
        let variants = mixed::variants(self.table, config.share, config.seed);
        self.share(|row| self.is_correct(row, variants[row]))
    }

    /// Part of the images that are classified correctly clean and on every stored sample; none without attacks.
    pub fn worst_case(&self) -> Option<f64> {
        let variants = 0..=self.table.attacks.len();
        self.share(|row| {
            variants
                .clone()
                .all(|variant| self.is_correct(row, variant))
        })
        .filter(|_| !self.table.attacks.is_empty())
    }

    /// Part of the images that a condition holds for.
    pub fn share(&self, condition: impl Fn(usize) -> bool) -> Option<f64> {
        let count = (0..self.table.len()).filter(|row| condition(*row)).count();
        (!self.table.is_empty()).then(|| count as f64 / self.table.len() as f64)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Five images of two classes, and two attacks.
    ///
    /// | image | label | clean | a (L2, Linf) | b (L2, Linf) |
    /// |---|---|---|---|---|
    /// | 0 | 0 | right | right (0.05, 1/255) | right (9, 200/255) |
    /// | 1 | 0 | right | wrong (0.5, 4/255) | wrong (0.3, 8/255) |
    /// | 2 | 1 | right | right (0.5, 4/255) | wrong (9, 200/255) |
    /// | 3 | 1 | wrong | right (0.05, 1/255) | right (0.3, 8/255) |
    /// | 4 | 1 | right | right, unchanged | wrong, as class 2 (1, 64/255) |
    pub fn small_split() -> (InMemorySplit, Vec<u8>) {
        let levels = [1u8, 200, 4, 8, 4, 200, 1, 8, 0, 64];
        let table = InMemorySplit {
            ids: (10..15).collect(),
            labels: vec![0, 0, 1, 1, 1],
            clean_preds: vec![0, 0, 1, 1, 0],
            attacks: ["a", "b"].map(String::from).to_vec(),
            preds: vec![0, 1, 0, 1, 1, 1, 1, 1, 0, 0],
            changed: levels.map(|level| level > 0).to_vec(),
            l2: vec![0.05, 9.0, 0.5, 0.3, 0.5, 9.0, 0.05, 0.3, 0.0, 1.0],
            linf: levels.map(|level| f32::from(level) / 255.0).to_vec(),
            ..InMemorySplit::default()
        };
        let predictions = vec![0, 0, 0, 0, 1, 2, 1, 1, 0, 0, 1, 1, 1, 1, 2];
        (table, predictions)
    }

    #[test]
    fn the_worst_case_needs_the_clean_image_and_every_sample_classified_correctly() {
        let (table, predictions) = small_split();
        let outcomes = Outcomes {
            table: &table,
            predictions: &predictions,
        };
        assert_eq!(outcomes.clean(), Some(0.8));
        let attacks = [("a", 0.8), ("b", 0.4)].map(|(name, part)| (name.to_string(), part));
        assert_eq!(outcomes.attacks(), OrderedMap(attacks.to_vec()));
        // Image 0 alone, though every attack by itself leaves more.
        assert_eq!(outcomes.worst_case(), Some(0.2));
        let fooled = all_variants(&table).into_iter();
        let fooled = fooled.filter(|&(row, variant)| outcomes.is_fooled(row, variant));
        assert!(fooled.eq([(1, 1), (1, 2), (2, 2), (4, 2)]));

        let predictions = surrogate_predictions(&table);
        assert_eq!(predictions[..6], [0, 0, 1, 0, 0, 1]);
        let surrogate = Outcomes {
            table: &table,
            predictions: &predictions,
        };
        // Images 2 and 3.
        assert_eq!(surrogate.worst_case(), Some(0.4));
    }

    #[test]
    fn without_images_or_attacks_there_is_no_worst_case() {
        let empty = InMemorySplit {
            attacks: vec!["a".into()],
            ..InMemorySplit::default()
        };
        let outcomes = Outcomes {
            table: &empty,
            predictions: &[],
        };
        assert_eq!((outcomes.clean(), outcomes.worst_case()), (None, None));
        assert_eq!(outcomes.attacks(), OrderedMap::default());
        let clean = InMemorySplit {
            ids: vec![1],
            labels: vec![3],
            ..InMemorySplit::default()
        };
        let outcomes = Outcomes {
            table: &clean,
            predictions: &[3],
        };
        assert_eq!((outcomes.clean(), outcomes.worst_case()), (Some(1.0), None));
    }
}
