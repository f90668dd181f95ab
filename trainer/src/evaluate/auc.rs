//! Area under the ROC curve: the probability that a positive scores above a negative, ties counting half
//! (Fawcett, "An introduction to ROC analysis", 2006).

/// 0.5 is chance, 1 perfect; none without positives, or without negatives.
pub fn roc_auc(scores: &[f32], truths: &[bool]) -> Option<f64> {
    let mut order: Vec<(f32, bool)> = scores.iter().copied().zip(truths.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = truths.iter().filter(|truth| **truth).count() as f64;
    let negatives = truths.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut ranked_above, mut negatives_below) = (0.0, 0.0);
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let true_count = tied.iter().filter(|(_, truth)| *truth).count() as f64;
        let false_count = tied.len() as f64 - true_count;
        ranked_above += true_count * (negatives_below + false_count / 2.0);
        negatives_below += false_count;
    }
    Some(ranked_above / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_is_the_probability_of_the_right_order() {
        assert_eq!(
            roc_auc(&[0.1, 0.2, 0.8, 0.9], &[false, false, true, true]),
            Some(1.0)
        );
        assert_eq!(
            roc_auc(&[0.9, 0.8, 0.2, 0.1], &[false, false, true, true]),
            Some(0.0)
        );
        assert_eq!(roc_auc(&[0.5; 4], &[false, true, false, true]), Some(0.5));
        // scikit-learn: roc_auc_score([0, 0, 1, 1, 1], [.1, .4, .35, .8, .4]) = 0.75
        let scores = [0.1, 0.4, 0.35, 0.8, 0.4];
        assert_eq!(
            roc_auc(&scores, &[false, false, true, true, true]),
            Some(0.75)
        );
    }

    #[test]
    fn there_is_no_auc_without_positives_and_negatives() {
        assert_eq!(roc_auc(&[1.0], &[true]), None);
        assert_eq!(roc_auc(&[], &[]), None);
    }
}
