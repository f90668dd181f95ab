//! Choice of the best epoch of a run.

use super::robust_val::RobustAccuracy;
use crate::config::Select;

/// Accuracies on `val` after an epoch, as far as they were measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accuracies {
    /// On clean images.
    pub clean: Option<f64>,
    /// On the mixed set.
    pub mixed: Option<f64>,
    /// Under attack.
    pub robust: Option<RobustAccuracy>,
}

/// A number that is higher for the better epoch; none where nothing was measured that decides.
///
/// Under attack a model that always predicts one class does better than one that has learned something and has no
/// robustness: epochs that are not above such a model are compared by their clean accuracy, and are below all others.
pub fn score(select: Select, on_val: Accuracies) -> Option<f64> {
    let Accuracies {
        clean,
        mixed,
        robust,
    } = on_val;
    match select {
        Select::Mixed => mixed.or(clean),
        Select::Clean => clean,
        Select::Robust => match robust {
            Some(robust) if robust.above_constant() => Some(1.0 + robust.accuracy),
            Some(_) => clean,
            None => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untrained_model_is_not_selected_for_the_accuracy_of_one_class_under_attack() {
        let epoch = |clean: f64, robust: f64| {
            let robust = Some(RobustAccuracy {
                accuracy: robust,
                constant: 0.117,
            });
            let on_val = Accuracies {
                clean: Some(clean),
                mixed: None,
                robust,
            };
            score(Select::Robust, on_val).unwrap()
        };
        // Accuracies of a run on stored samples of CIFAR-10 alone.
        assert!(epoch(0.1165, 0.1035) < epoch(0.294, 0.084));
        assert!(epoch(0.294, 0.084) < epoch(0.5675, 0.0));
        // A model with some robustness is better than any without, and the more robust one the best.
        assert!(epoch(0.99, 0.117) < epoch(0.3, 0.12));
        assert!(epoch(0.5, 0.2) < epoch(0.4, 0.21));
    }
}
