//! Format of `trainer eval --json` on arrays and on corruptions.

use base::log;
use data::corruptions::{CORRUPTIONS, Corruption, Group, Severity};
use serde::Serialize;

use crate::report::evaluation::Model;

/// The result on labeled arrays.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArraysEvaluation {
    /// The evaluated model.
    pub model: Model,
    /// Images it was evaluated on.
    pub images: u64,
    /// Those of them that it classifies correctly.
    pub correct: u64,
    /// Their part of all.
    pub accuracy: f64,
    /// Warnings of the evaluation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The result on corrupted images. Accuracies are in `[0,1]`; means are plain means over the cells that were
/// evaluated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorruptionEvaluation {
    /// The evaluated model.
    pub model: Model,
    /// Where the corrupted images are from.
    pub source: Source,
    /// Images of each cell.
    pub images: u64,
    /// Accuracy on the same images without corruption; none where they are not known.
    pub clean: Option<f64>,
    /// All fifteen corruptions of CIFAR-10-C.
    pub corruptions: Vec<CorruptionAccuracies>,
    /// Cells, of a corruption and a severity each, that were evaluated.
    pub cells: usize,
    /// Cells of the whole table: 75.
    pub all_cells: usize,
    /// Corruptions of which no cell was evaluated.
    pub missing: Vec<&'static str>,
    /// Mean over the evaluated cells.
    pub mean: Option<f64>,
    /// The same without the three noises, which training on Gaussian noise makes no unseen corruptions.
    pub mean_without_noise: Option<f64>,
    /// Warnings of the evaluation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where corrupted images are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The files of CIFAR-10-C.
    Files,
    /// Computed from clean images.
    Computed,
}

/// The accuracies under one corruption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorruptionAccuracies {
    /// The corruption.
    pub name: &'static str,
    #[serde(skip)]
    group: Group,
    /// For severities 1 to 5; none where it was not evaluated.
    pub severities: [Option<f64>; Severity::COUNT],
    /// Their mean.
    pub mean: Option<f64>,
}

impl CorruptionAccuracies {
    /// The accuracies with their mean.
    pub fn new(row: &Corruption, severities: [Option<f64>; Severity::COUNT]) -> Self {
        Self {
            name: row.name,
            group: row.group,
            mean: mean(severities.into_iter().flatten()),
            severities,
        }
    }
}

impl CorruptionEvaluation {
    /// The result of a table of accuracies, without a clean accuracy.
    pub fn new(
        source: Source,
        model: Model,
        images: u64,
        corruptions: Vec<CorruptionAccuracies>,
    ) -> Self {
        let cells = |noise: bool| {
            let rows = corruptions.iter();
            let rows = rows.filter(move |row| noise || row.group != Group::Noise);
            rows.flat_map(|row| row.severities.into_iter().flatten())
        };
        let missing = corruptions.iter().filter(|row| row.mean.is_none());
        Self {
            model,
            source,
            images,
            clean: None,
            cells: cells(true).count(),
            all_cells: CORRUPTIONS.len() * Severity::COUNT,
            missing: missing.map(|row| row.name).collect(),
            mean: mean(cells(true)),
            mean_without_noise: mean(cells(false)),
            corruptions,
            warnings: log::warnings(),
        }
    }
}

/// The mean; none of no values.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(accuracies: impl Fn(usize) -> [Option<f64>; 5]) -> CorruptionEvaluation {
        let model = Model {
            name: "resnet34".into(),
            method: "pretrain".into(),
            width: 2,
            epoch: 1,
        };
        let rows = CORRUPTIONS.iter().enumerate();
        let rows = rows.map(|(i, row)| CorruptionAccuracies::new(row, accuracies(i)));
        CorruptionEvaluation::new(Source::Files, model, 10, rows.collect())
    }

    #[test]
    fn means_of_corruptions_are_over_cells_with_and_without_noise() {
        // The three noises 0.25, everything else 0.75.
        let whole = evaluation(|row| [Some(if row < 3 { 0.25 } else { 0.75 }); 5]);
        assert_eq!((whole.cells, whole.all_cells), (75, 75));
        assert_eq!(whole.mean, Some((3.0 * 0.25 + 12.0 * 0.75) / 15.0));
        assert_eq!(whole.mean_without_noise, Some(0.75));
        assert!(whole.missing.is_empty());
        assert_eq!(whole.corruptions[2].mean, Some(0.25));
    }

    #[test]
    fn missing_corruptions_are_named_and_left_out_of_the_means() {
        let two = evaluation(|row| match row {
            0 => [Some(0.5); 5],
            6 => [None, None, Some(0.25), None, Some(0.75)],
            _ => [None; 5],
        });
        assert_eq!((two.cells, two.missing.len()), (7, 13));
        assert_eq!(two.missing[0], "shot_noise");
        assert_eq!(two.mean, Some(3.5 / 7.0));
        assert_eq!(two.mean_without_noise, Some(0.5));
        assert_eq!(two.corruptions[6].mean, Some(0.5));
        let noise = evaluation(|row| [(row < 3).then_some(1.0); 5]);
        assert_eq!(noise.mean_without_noise, None);
    }
}
