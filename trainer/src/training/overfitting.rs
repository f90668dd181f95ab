//! Catastrophic overfitting of adversarial training (Wong, Rice, Kolter, "Fast is better than free", 2020): within an
//! epoch or two a model loses its robustness to attacks of several steps, while its own loss goes on falling.

use base::log;

use super::robust_val::RobustAccuracy;
use crate::checkpoint::RunProgress;

/// Keeps the best accuracy under attack so far, and warns where less than half of it is left.
pub fn check(progress: &mut RunProgress, measured: Option<RobustAccuracy>) {
    let Some(measured) = measured else { return };
    let robust = measured.accuracy;
    let best = progress.best_robust.unwrap_or(robust).max(robust);
    if has_overfitted(best, measured) {
        log::warning(format_args!(
            "epoch {}: {:.1}% of val under attack, after {:.1}% before: this looks like catastrophic overfitting; \
             more --steps, a smaller --step-size or --eps, or a smaller --lr may help",
            progress.epochs + 1,
            100.0 * robust,
            100.0 * best
        ));
    }
    progress.best_robust = Some(best);
}

/// Whether less than half of `best` is left; `best` counts only above the accuracy of a constant prediction.
fn has_overfitted(best: f64, now: RobustAccuracy) -> bool {
    best > now.constant && now.accuracy < best / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catastrophic_overfitting_is_the_loss_of_half_the_best_robust_accuracy() {
        // PGD-10 accuracies after each epoch of fast-at that collapsed on real images.
        let measured = [0.21, 0.19, 0.02, 0.0];
        let mut progress = RunProgress::default();
        let mut warned = Vec::new();
        let of = |accuracy| RobustAccuracy {
            accuracy,
            constant: 0.117,
        };
        for robust in measured.map(of) {
            let best = progress.best_robust.unwrap_or(0.0);
            warned.push(has_overfitted(best, robust));
            check(&mut progress, Some(robust));
        }
        assert_eq!(warned, [false, false, true, true]);
        assert_eq!(progress.best_robust, Some(0.21));
        check(&mut progress, None);
        assert_eq!(progress.best_robust, Some(0.21));
        // A model that never was better than a constant prediction has nothing to lose.
        assert!(!has_overfitted(0.1035, of(0.0)));
    }
}
