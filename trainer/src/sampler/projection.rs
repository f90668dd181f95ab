//! Euclidean projection onto the probability simplex cut by bounds.
//!
//! The projection of y onto {p : sum p = 1, low <= p <= high} is
//! p_i = clamp(y_i - t, low_i, high_i) for the one t that makes the sum 1 (its optimality
//! conditions). The sum falls piecewise linearly in t, so t is found exactly, between two
//! breakpoints.

/// The projection of `weights`; a sum of 1 must be possible within `low` and `high`.
pub fn project(weights: &[f64], low: &[f64], high: &[f64]) -> Vec<f64> {
    let at = |t: f64| {
        weights
            .iter()
            .zip(low)
            .zip(high)
            .map(move |((y, low), high)| (y - t).clamp(*low, *high))
    };
    let sum = |t: f64| at(t).sum::<f64>();

    let gap =
        |bound: &[f64]| -> Vec<f64> { weights.iter().zip(bound).map(|(y, b)| y - b).collect() };
    let mut breakpoints = [gap(high), gap(low)].concat();
    breakpoints.sort_by(f64::total_cmp);
    // Everything is at its upper bound at the first breakpoint, at its lower bound at the last.
    let right = breakpoints.partition_point(|&t| sum(t) > 1.0);
    let t = match right {
        0 => breakpoints[0],
        right if right == breakpoints.len() => breakpoints[right - 1],
        right => {
            let (left, right) = (breakpoints[right - 1], breakpoints[right]);
            let (above, below) = (sum(left), sum(right));
            left + (right - left) * ((above - 1.0) / (above - below))
        }
    };
    at(t).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::tests::{bounds, weights};

    #[test]
    fn the_projection_of_a_mixture_within_the_bounds_is_itself() {
        let p = [0.125, 0.5, 0.375];
        assert_eq!(project(&p, &[0.0; 3], &[1.0; 3]), p);
    }

    #[test]
    fn the_projection_of_equal_weights_shares_what_the_bounds_leave() {
        let p = project(&[1.0 / 3.0; 3], &[0.5, 0.0, 0.0], &[1.0, 0.125, 1.0]);
        for (found, expected) in p.iter().zip([0.5, 0.125, 0.375]) {
            assert!((found - expected).abs() < 1e-15);
        }
    }

    proptest! {
        /// The Karush-Kuhn-Tucker conditions, which only the projection satisfies.
        #[test]
        fn projections_are_optimal((bounds, weights) in bounds().prop_flat_map(|b| {
            let n = b.count();
            (Just(b), weights(n))
        })) {
            let p = bounds.project(&weights);
            prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(bounds.contain(&p));
            // Free coordinates moved by the same t; those at the upper bound by at least t,
            // those at the lower bound by at most t.
            let (mut least, mut greatest) = (f64::NEG_INFINITY, f64::INFINITY);
            for (i, &p) in p.iter().enumerate() {
                let t = weights[i] - p;
                if p > bounds.low()[i] {
                    greatest = greatest.min(t);
                }
                if p < bounds.high()[i] {
                    least = least.max(t);
                }
            }
            prop_assert!(least <= greatest + 1e-12, "{least} {greatest}");
        }
    }
}
