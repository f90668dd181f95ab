//! Accuracy and confusion matrix of each class, on clean images and in the worst case.

use serde::{Deserialize, Serialize};

/// Results by true class, in the order of `names`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResults {
    /// Names of the classes.
    pub names: Vec<String>,
    /// Images of each class.
    pub images: Vec<u64>,
    /// On the clean images.
    pub clean: Confusion,
    /// In the worst case over the stored samples; none without attacks.
    pub worst_case: Option<Confusion>,
}

/// Counts of predicted classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Part of each class's images that are classified correctly; none without images.
    pub accuracy: Vec<Option<f64>>,
    /// Images by true class (rows) and predicted class (columns).
    pub matrix: Vec<Vec<u64>>,
}

impl Confusion {
    /// The class that images of this one are most often mistaken for, and how many are; the first of several.
    pub fn most_frequent_error(&self, class: usize) -> Option<(usize, u64)> {
        let row = self.matrix.get(class)?.iter().copied().enumerate();
        let errors = row.filter(|&(predicted, count)| predicted != class && count > 0);
        errors.max_by_key(|&(predicted, count)| (count, std::cmp::Reverse(predicted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_error_is_off_the_diagonal_of_the_confusion_matrix() {
        let confusion = Confusion {
            accuracy: vec![Some(0.5), Some(1.0), None],
            matrix: vec![vec![4, 2, 2], vec![0, 3, 0], vec![0, 0, 0]],
        };
        let errors = [0, 1, 2, 3].map(|class| confusion.most_frequent_error(class));
        assert_eq!(errors, [Some((1, 2)), None, None, None]);
    }
}
