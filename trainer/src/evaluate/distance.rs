//! Accuracy against the distance of stored samples: an image counts at distance `d` if it is classified correctly
//! clean and on each of its samples within `d`, of whatever attack.

use super::outcomes::Outcomes;
use crate::metrics::{DistanceCurves, DistancePoint};

/// L2 distances of the curve, in units of `[0,1]`.
const L2: [f64; 9] = [0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

/// Linf distances of the curve, in levels of 255.
const LINF_LEVELS: [f64; 8] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// The curves of a classifier; none without images or attacks.
pub fn curves(outcomes: &Outcomes) -> Option<DistanceCurves> {
    let (l2, linf) = (&outcomes.table.l2, &outcomes.table.linf);
    outcomes.worst_case()?;
    // Whole levels, since a stored distance is a multiple of 1/255 that is not exact.
    let level = |sample: usize| (255.0 * linf[sample]).round();
    Some(DistanceCurves {
        l2: curve(outcomes, &L2, |sample| l2[sample], 1.0)?,
        linf: curve(outcomes, &LINF_LEVELS, level, 255.0)?,
    })
}

/// The accuracy at each distance of `grid`, in which `per_unit` is 1 in units of `[0,1]`.
fn curve(
    outcomes: &Outcomes,
    grid: &[f64],
    distance: impl Fn(usize) -> f32,
    per_unit: f64,
) -> Option<Vec<DistancePoint>> {
    let rows = 0..outcomes.table.len();
    let nearest: Vec<f32> = rows
        .map(|row| nearest_error(outcomes, row, &distance))
        .collect();
    let point = |&limit: &f64| {
        Some(DistancePoint {
            distance: limit / per_unit,
            accuracy: outcomes.share(|row| nearest[row] > limit as f32)?,
        })
    };
    grid.iter().map(point).collect()
}

/// Distance of the nearest variant that is misclassified: -infinity for the clean image, infinity where there is
/// none.
fn nearest_error(outcomes: &Outcomes, row: usize, distance: impl Fn(usize) -> f32) -> f32 {
    if !outcomes.is_correct(row, 0) {
        return f32::NEG_INFINITY;
    }
    let attacks = outcomes.table.attacks.len();
    let misclassified = (0..attacks).filter(|attack| !outcomes.is_correct(row, 1 + attack));
    misclassified
        .map(|attack| distance(row * attacks + attack))
        .fold(f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use super::{super::outcomes::tests::small_split, *};

    #[test]
    fn accuracy_by_distance_counts_the_samples_within_the_distance() {
        let (table, predictions) = small_split();
        let curves = curves(&Outcomes {
            table: &table,
            predictions: &predictions,
        });
        let curves = curves.unwrap();
        let pairs = |points: &[DistancePoint]| -> Vec<(f64, f64)> {
            points.iter().map(|p| (p.distance, p.accuracy)).collect()
        };
        // Image 3 is misclassified clean. By L2, image 1 falls at 0.3, image 4 at 1 and image 2 at 9.
        let l2 = [0.8, 0.8, 0.8, 0.8, 0.6, 0.4, 0.4, 0.4, 0.4];
        let at = [0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
        assert_eq!(
            pairs(&curves.l2),
            std::iter::zip(at, l2).collect::<Vec<_>>()
        );
        // By Linf at 4, 64 and 200 levels: the distance itself is within.
        let linf = [0.8, 0.8, 0.8, 0.6, 0.6, 0.6, 0.6, 0.4];
        let at = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].map(|level| level / 255.0);
        assert_eq!(
            pairs(&curves.linf),
            std::iter::zip(at, linf).collect::<Vec<_>>()
        );
    }

    #[test]
    fn without_attacks_there_is_no_accuracy_by_distance() {
        let (mut table, _) = small_split();
        table.attacks.clear();
        let predictions = table.clean_preds.clone();
        let outcomes = Outcomes {
            table: &table,
            predictions: &predictions,
        };
        assert_eq!(curves(&outcomes), None);
    }
}
