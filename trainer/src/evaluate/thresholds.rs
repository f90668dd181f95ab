//! Thresholds of a detector at fixed false positive rates, from the clean images of `val` alone.

/// False positive rates that thresholds are chosen for, in percent.
pub const FPR_PERCENT: [usize; 2] = [1, 5];

/// The thresholds in the order of [`FPR_PERCENT`]; or why there are none.
pub type Thresholds = std::result::Result<Vec<f32>, String>;

/// The thresholds that these scores of clean images fix.
pub fn thresholds(clean_scores: &[f32]) -> Thresholds {
    let mut sorted = clean_scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    let thresholds = FPR_PERCENT.map(|percent| threshold(&sorted, percent));
    let thresholds: Option<Vec<f32>> = thresholds.into_iter().collect();
    thresholds.ok_or_else(|| "val has no images".into())
}

/// The (1 - FPR) quantile of rising scores: at most `floor(N * FPR)` of the `N` scores are above it.
fn threshold(sorted: &[f32], fpr_percent: usize) -> Option<f32> {
    let above = sorted.len() * fpr_percent / 100;
    sorted.len().checked_sub(above + 1).map(|at| sorted[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_the_quantiles_of_clean_scores() {
        // numpy: s = np.sin(np.arange(1, N + 1)).astype(np.float32);
        // [np.sort(s)[N - N * p // 100 - 1] for p in (1, 5)]
        for (count, expected) in [
            (7, [0.909_297_4, 0.909_297_4]),
            (100, [0.999_520_2, 0.986_627_6]),
            (250, [0.998_816_67, 0.986_627_6]),
        ] {
            let scores: Vec<f32> = (1..=count).map(|i| f64::from(i).sin() as f32).collect();
            let found = thresholds(&scores).unwrap();
            assert_eq!(found, expected, "{count} scores");
            for (threshold, percent) in found.iter().zip(FPR_PERCENT) {
                let flagged = scores.iter().filter(|score| *score > threshold).count();
                assert_eq!(flagged, scores.len() * percent / 100);
            }
        }
    }

    #[test]
    fn tied_scores_are_flagged_together_or_not_at_all() {
        let scores = [[0.5; 60], [2.0; 60]].concat();
        assert_eq!(thresholds(&scores), Ok(vec![2.0, 2.0]));
    }

    #[test]
    fn without_clean_images_there_are_no_thresholds() {
        assert_eq!(thresholds(&[]), Err("val has no images".into()));
        assert_eq!(thresholds(&[0.25]), Ok(vec![0.25; 2]));
    }
}
