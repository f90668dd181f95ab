//! Text of the accuracy against the distance of the samples, on one split.

use super::{line, percent};
use crate::{
    metrics::{DistanceCurves, DistancePoint},
    report::{evaluation::SplitResult, short},
};

/// A norm's points of a classifier's curves.
type Norm = fn(&DistanceCurves) -> &[DistancePoint];

/// A table for each norm; empty without curves.
pub fn text(method: &str, result: &SplitResult) -> String {
    let Some(model) = &result.by_distance else {
        return String::new();
    };
    let surrogate = result.baseline.as_ref();
    let surrogate = surrogate.and_then(|of| of.by_distance.as_ref());
    let norms: [(&str, f64, Norm); 2] = [
        ("L2 <=", 1.0, |curves| &curves.l2),
        ("255 Linf <=", 255.0, |curves| &curves.linf),
    ];
    let mut out = String::new();
    for (heading, per_unit, norm) in norms {
        let points = norm(model).iter();
        let grid: Vec<String> = points
            .map(|point| short(per_unit * point.distance))
            .collect();
        out += &format!("\n{}\n", line(heading, &grid));
        for (name, curves) in [("surrogate", surrogate), (method, Some(model))] {
            let points = curves.into_iter().flat_map(norm);
            let accuracies: Vec<String> =
                points.map(|point| percent(Some(point.accuracy))).collect();
            if !accuracies.is_empty() {
                out += &(line(name, &accuracies) + "\n");
            }
        }
    }
    out
}
