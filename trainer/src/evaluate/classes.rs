//! Confusion matrices and accuracy of each class, on clean images and in the worst case over the stored samples.

use super::outcomes::Outcomes;
use crate::metrics::{ClassResults, Confusion};

/// Results by class; none without images. Labels and predictions are below the number of names.
pub fn classes(outcomes: &Outcomes, names: &[String]) -> Option<ClassResults> {
    if outcomes.table.is_empty() {
        return None;
    }
    let confusion = |predicted: &dyn Fn(usize) -> u8| {
        let mut matrix = vec![vec![0; names.len()]; names.len()];
        for (row, &label) in outcomes.table.labels.iter().enumerate() {
            matrix[usize::from(label)][usize::from(predicted(row))] += 1;
        }
        let accuracy = |(class, counts): (usize, &Vec<u64>)| {
            let images: u64 = counts.iter().sum();
            (images > 0).then(|| counts[class] as f64 / images as f64)
        };
        Confusion {
            accuracy: matrix.iter().enumerate().map(accuracy).collect(),
            matrix,
        }
    };
    let clean = confusion(&|row| outcomes.prediction(row, 0));
    let attacked = !outcomes.table.attacks.is_empty();
    Some(ClassResults {
        names: names.to_vec(),
        images: clean.matrix.iter().map(|row| row.iter().sum()).collect(),
        clean,
        worst_case: attacked.then(|| confusion(&|row| worst_prediction(outcomes, row))),
    })
}

/// The prediction on the misclassified variant at the smallest L2 distance, the first of several: the clean image's
/// where that is misclassified. The true class where no variant is.
fn worst_prediction(outcomes: &Outcomes, row: usize) -> u8 {
    let table = outcomes.table;
    if !outcomes.is_correct(row, 0) {
        return outcomes.prediction(row, 0);
    }
    let attacks = table.attacks.len();
    let l2 = |attack: &usize| table.l2[row * attacks + attack];
    let misclassified = (0..attacks).filter(|attack| !outcomes.is_correct(row, 1 + attack));
    let nearest = misclassified.min_by(|a, b| l2(a).total_cmp(&l2(b)));
    nearest.map_or(table.labels[row], |attack| {
        outcomes.prediction(row, 1 + attack)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::outcomes::tests::small_split, *};

    #[test]
    fn confusion_matrices_count_predictions_by_true_class_clean_and_in_the_worst_case() {
        let (table, mut predictions) = small_split();
        // Image 1: sample a is mistaken for class 1 at 0.5, sample b for class 2 at 0.3.
        assert_eq!(predictions[4..6], [1, 2]);
        let names = ["cat", "dog", "frog"].map(String::from);
        let results = |predictions: &[u8]| {
            let table = &table;
            classes(&Outcomes { table, predictions }, &names).unwrap()
        };
        let found = results(&predictions);
        assert_eq!(found.names, names);
        assert_eq!(found.images, [2, 3, 0]);
        assert_eq!(found.clean.matrix, [[2, 0, 0], [1, 2, 0], [0, 0, 0]]);
        assert_eq!(found.clean.accuracy, [Some(1.0), Some(2.0 / 3.0), None]);
        let worst = found.worst_case.unwrap();
        assert_eq!(worst.matrix, [[1, 0, 1], [2, 0, 1], [0, 0, 0]]);
        assert_eq!(worst.accuracy, [Some(0.5), Some(0.0), None]);

        // Without sample b's error the other one decides.
        predictions[5] = 0;
        let worst = results(&predictions).worst_case.unwrap();
        assert_eq!(worst.matrix[0], [1, 1, 0]);
    }
}
