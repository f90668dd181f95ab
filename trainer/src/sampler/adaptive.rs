//! Adaptive policy: multiplicative weights, which move probability to the attacks with the highest error rates
//! (Freund and Schapire, "A decision-theoretic generalization of on-line learning", 1997).
//!
//! w_i = p_i * exp(eta * error_i), normalized, then projected into the bounds.

use base::random::Stream;

use super::{Bounds, Policy};

/// Least weight before multiplying: from 0 no attack could come back.
const FLOOR: f64 = 1e-3;

/// Multiplicative weights.
pub struct Adaptive {
    /// Learning rate: the exponent per unit of error.
    pub eta: f64,
}

impl Policy for Adaptive {
    /// Without errors the probabilities stay. An attack that was never drawn (NaN) counts as the mean of the
    /// others.
    fn redraw(
        &self,
        current: &[f64],
        errors: Option<&[f64]>,
        bounds: &Bounds,
        _: &mut Stream,
    ) -> Vec<f64> {
        let known = errors.unwrap_or_default().iter().filter(|e| !e.is_nan());
        let (sum, count) = known.fold((0.0, 0.0), |(s, n), e| (s + e.clamp(0.0, 1.0), n + 1.0));
        let Some(errors) = errors.filter(|_| count > 0.0) else {
            return current.to_vec();
        };
        let excess = errors.iter().map(|error| {
            if error.is_nan() {
                0.0
            } else {
                // Relative to the mean: the same after normalizing, and no exponent overflows early.
                error.clamp(0.0, 1.0) - sum / count
            }
        });
        let exponents: Vec<f64> = excess.map(|excess| self.eta * excess).collect();
        let greatest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = current.iter().zip(exponents);
        let weights: Vec<f64> = weights
            .map(|(p, exponent)| p.max(FLOOR) * (exponent - greatest).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let normalized: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        bounds.project(&normalized)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::tests::{bounds, weights};

    fn redraw(eta: f64, current: &[f64], errors: Option<&[f64]>, bounds: &Bounds) -> Vec<f64> {
        let mut stream = Stream::new(1, "adaptive", &[]);
        Adaptive { eta }.redraw(current, errors, bounds, &mut stream)
    }

    fn free() -> Bounds {
        Bounds::parse("", &["a", "b", "c"].map(String::from)).unwrap()
    }

    #[test]
    fn without_bounds_it_is_the_written_formula() {
        let (p, errors, eta) = ([0.2, 0.5, 0.3], [0.9, 0.1, 0.4], 2.0);
        let found = redraw(eta, &p, Some(&errors), &free());
        let weights: Vec<f64> = (0..3).map(|i| p[i] * (eta * errors[i]).exp()).collect();
        for (found, weight) in found.iter().zip(&weights) {
            assert!((found - weight / weights.iter().sum::<f64>()).abs() < 1e-12);
        }
    }

    #[test]
    fn probability_flows_to_the_worst_attack_up_to_its_bound() {
        let bounds = Bounds::parse("b=0..0.6,c=0.05..1", free().names()).unwrap();
        let mut p = bounds.project(&[1.0 / 3.0; 3]);
        for _ in 0..50 {
            let next = redraw(1.0, &p, Some(&[0.2, 0.9, 0.1]), &bounds);
            assert!(next[1] >= p[1] && bounds.contain(&next));
            p = next;
        }
        assert!(p[1] == 0.6 && p[0] > p[2], "{p:?}");
    }

    #[test]
    fn an_attack_of_probability_zero_comes_back_when_its_error_rises() {
        let mut p = vec![0.5, 0.5, 0.0];
        for _ in 0..20 {
            p = redraw(1.0, &p, Some(&[0.1, 0.1, 0.9]), &free());
        }
        assert!(p[2] > 0.9, "{p:?}");
    }

    #[test]
    fn unknown_errors_change_nothing_or_count_as_the_mean() {
        let p = [0.25, 0.5, 0.25];
        assert_eq!(redraw(1.0, &p, None, &free()), p);
        assert_eq!(redraw(1.0, &p, Some(&[f64::NAN; 3]), &free()), p);
        let unknown = redraw(1.0, &p, Some(&[0.2, f64::NAN, 0.6]), &free());
        assert_eq!(unknown, redraw(1.0, &p, Some(&[0.2, 0.4, 0.6]), &free()));
    }

    proptest! {
        #[test]
        fn it_stays_within_any_bounds(
            (bounds, errors) in bounds().prop_flat_map(|b| { let n = b.count(); (Just(b), weights(n)) }),
            eta in 0.0..1e4f64,
        ) {
            let p = bounds.project(&vec![0.0; bounds.count()]);
            let next = redraw(eta, &p, Some(&errors), &bounds);
            prop_assert!(bounds.contain(&next), "{next:?}");
        }
    }
}
