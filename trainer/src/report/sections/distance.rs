//! Accuracy against the distance of the stored samples from their clean images: a chart for each split and norm.

use base::Result;
use maud::{Markup, html};

use super::{Section, no_results};
use crate::{
    metrics::{DistanceCurves, DistancePoint},
    report::{
        ReportData,
        axis::Unit,
        elements::note,
        format::short,
        names,
        plot::{Horizontal, LineChart, Series},
        results,
        run_record::RunRecord,
    },
};

const EXPLANATION: &str = "An image counts at a distance if it is classified correctly clean and on every stored \
    sample within that distance, whatever the attack. Samples farther away are left out, so that the last point may \
    be above the worst case. As all accuracies on stored samples, these measure transfer from the baseline: an attack \
    on the model itself finds errors nearer to the images.";

/// Colors of runs in the palette of style.css.
const COLORS: usize = 10;

/// A norm: its name, its unit in units of `[0,1]`, its name with the unit, and a classifier's points.
type DistanceNorm = (
    &'static str,
    f64,
    &'static str,
    fn(&DistanceCurves) -> &[DistancePoint],
);

const NORMS: [DistanceNorm; 2] = [
    ("L2", 1.0, "L2 distance", |curves| &curves.l2),
    ("Linf", 255.0, "Linf distance, in 255ths", |curves| {
        &curves.linf
    }),
];

/// The section of the distances.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let measured = |split: &&str| {
        let mut results = results::all(data.runs);
        results.any(|(_, _, result)| result.split == *split && result.by_distance.is_some())
    };
    let splits = results::splits(data.runs);
    let with_curves: Vec<&str> = splits.iter().copied().filter(measured).collect();
    let body = if splits.is_empty() {
        no_results(data)
    } else if with_curves.is_empty() {
        note("No run was evaluated by distance.")
    } else {
        html! {
            @for split in with_curves { (charts(data.runs, split)) }
            (note(EXPLANATION))
        }
    };
    let heading = "Accuracy by distance";
    Ok(vec![Section::new("distance", "Distance", heading, body)])
}

fn charts(runs: &[RunRecord], split: &str) -> Markup {
    html! {
        div.charts {
            @for norm in &NORMS { (chart(runs, split, norm)) }
        }
    }
}

/// The curves of the baselines, dashed, and of the runs.
fn chart(
    runs: &[RunRecord],
    split: &str,
    (norm, per_unit, axis, points_of): &DistanceNorm,
) -> LineChart {
    // Files of other versions may have other distances.
    let mut grid: Vec<f64> = Vec::new();
    let mut curves: Vec<(String, usize, bool, &[DistancePoint])> = Vec::new();
    let on_split = results::all(runs).filter(|(_, _, result)| result.split == split);
    for (color, (run, evaluation, result)) in on_split.enumerate() {
        let baseline = result.baseline.as_ref();
        if let Some(points) = baseline.and_then(|of| of.by_distance.as_ref()) {
            let hash: String = evaluation.surrogate.sha256.chars().take(8).collect();
            let curve = (
                format!("Baseline {hash}"),
                names::CLEAN,
                true,
                points_of(points),
            );
            if !curves.contains(&curve) {
                curves.push(curve);
            }
        }
        if let Some(points) = &result.by_distance {
            let color = 1 + color % COLORS;
            curves.push((run.name.clone(), color, false, points_of(points)));
        }
    }
    for (_, _, _, points) in &curves {
        grid.extend(points.iter().map(|point| point.distance));
    }
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let place = |point: &DistancePoint| {
        let index = grid.iter().position(|distance| *distance == point.distance);
        (index.unwrap_or(0) as f64, point.accuracy)
    };
    LineChart {
        title: format!("Accuracy in percent against the {norm} distance, {split}"),
        horizontal: Horizontal::Named {
            title: (*axis).into(),
            labels: grid.iter().map(|at| short(per_unit * at)).collect(),
        },
        unit: Unit::Percent,
        series: curves
            .iter()
            .map(|(name, color, dashed, points)| Series {
                name: name.clone(),
                color: *color,
                dashed: *dashed,
                points: points.iter().map(place).collect(),
            })
            .collect(),
        marked: None,
    }
}
