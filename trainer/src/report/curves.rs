//! Charts and table of a run's metrics over its epochs.

use maud::{Markup, html};

use super::{
    axis::Unit,
    format::short,
    names,
    plot::{Band, Horizontal, LineChart, Series, StackedChart},
    run_record::RunRecord,
    table::{Cell, Table, TableRow},
};
use crate::metrics::{EpochMetrics, MixtureMetrics};

/// The charts that the run has numbers for.
pub fn charts(run: &RunRecord) -> Markup {
    let has_attacks = run.epochs.iter().any(|e| !e.val.attacks.0.is_empty());
    let has_mixture = run.epochs.iter().any(|e| e.mixture.is_some());
    html! {
        (losses(run))
        (accuracies(run))
        @if has_attacks { (accuracies_by_attack(run)) }
        @if has_mixture { (draw_probabilities(run)) }
    }
}

fn losses(run: &RunRecord) -> LineChart {
    LineChart {
        title: "Training loss".into(),
        horizontal: Horizontal::Epochs,
        unit: Unit::Number,
        series: vec![
            series(run, "whole", 1, false, |e| Some(e.train.loss)),
            series(run, "cross-entropy", 2, true, |e| {
                Some(e.train.cross_entropy)
            }),
            series(run, "smooth L1", 3, false, |e| e.train.smooth_l1),
            series(run, "detector", 5, false, |e| e.train.detector_loss),
        ],
        marked: best_epoch(run),
    }
}

fn accuracies(run: &RunRecord) -> LineChart {
    let detector = |e: &EpochMetrics| e.val.detector.map(|d| d.accuracy);
    LineChart {
        title: "Accuracy in percent".into(),
        horizontal: Horizontal::Epochs,
        unit: Unit::Percent,
        series: vec![
            series(run, "training draws", 1, true, |e| Some(e.train.accuracy)),
            series(run, "val, clean", names::CLEAN, false, |e| e.val.clean),
            series(run, "val, mixed", 2, false, |e| e.val.mixed),
            series(run, "val, under attack", 4, false, |e| e.val.robust),
            series(run, "detector, training", 5, true, |e| {
                e.train.detector_accuracy
            }),
            series(run, "detector, val", 5, false, detector),
        ],
        marked: best_epoch(run),
    }
}

fn accuracies_by_attack(run: &RunRecord) -> LineChart {
    let clean = series(run, "Clean", names::CLEAN, false, |e| e.val.clean);
    let attacked = attacks(run).into_iter().map(|attack| {
        let color = names::color(attack);
        series(run, names::label(attack), color, false, |e| {
            e.val.attacks.get(attack).copied()
        })
    });
    LineChart {
        title: "Validation accuracy in percent, by attack".into(),
        horizontal: Horizontal::Epochs,
        unit: Unit::Percent,
        series: std::iter::once(clean).chain(attacked).collect(),
        marked: best_epoch(run),
    }
}

/// A draw is clean with probability 1 - share, and an attack's sample with share times the attack's probability.
fn draw_probabilities(run: &RunRecord) -> StackedChart {
    let mixtures = || {
        run.epochs
            .iter()
            .filter_map(|e| Some((e.epoch, e.mixture.as_ref()?)))
    };
    let clean = Band {
        name: "Clean".into(),
        color: names::CLEAN,
        values: mixtures().map(|(_, mixture)| 1.0 - mixture.share).collect(),
    };
    let drawn = mixtures().flat_map(|(_, mixture)| &mixture.probabilities.0);
    let attacked = names::in_order(drawn.map(|(name, _)| name.as_str()))
        .into_iter()
        .map(|attack| {
            let probability = |(_, mixture): (u32, &MixtureMetrics)| {
                mixture.share * mixture.probabilities.get(attack).copied().unwrap_or(0.0)
            };
            Band {
                name: names::label(attack).into(),
                color: names::color(attack),
                values: mixtures().map(probability).collect(),
            }
        });
    StackedChart {
        title: "Probability of each kind of draw in percent".into(),
        epochs: mixtures().map(|(epoch, _)| f64::from(epoch)).collect(),
        bands: std::iter::once(clean).chain(attacked).collect(),
    }
}

/// Every epoch's numbers.
pub fn table(run: &RunRecord) -> Table {
    let attacks = attacks(run);
    let with_detector = run.epochs.iter().any(|e| e.val.detector.is_some());
    let with_robust = run.epochs.iter().any(|e| e.val.robust.is_some());
    let mut head = vec!["Epoch", "s", "images/s", "lr", "loss", "train", "Clean"];
    head.extend(attacks.iter().map(|attack| names::label(attack)));
    head.push("mixed");
    if with_robust {
        head.push("under attack");
    }
    if with_detector {
        head.extend(["detector", "AUC"]);
    }
    let rows = run.epochs.iter().map(|epoch| {
        let plain = [
            epoch.seconds,
            epoch.images_per_s,
            epoch.lr,
            epoch.train.loss,
        ];
        let mut cells: Vec<Cell> = plain.map(|n| Cell::Text(short(n))).into();
        let val = &epoch.val;
        cells.push(Cell::Percent(Some(epoch.train.accuracy)));
        cells.push(Cell::Percent(val.clean));
        cells.extend(
            attacks
                .iter()
                .map(|a| Cell::Percent(val.attacks.get(a).copied())),
        );
        cells.push(Cell::Percent(val.mixed));
        if with_robust {
            cells.push(Cell::Percent(val.robust));
        }
        if with_detector {
            cells.push(Cell::Percent(val.detector.map(|d| d.accuracy)));
            cells.push(Cell::Fraction(val.detector.and_then(|d| d.auc)));
        }
        let note = if epoch.best { "best so far" } else { "" };
        TableRow {
            label: epoch.epoch.to_string(),
            note: note.into(),
            reference: false,
            cells,
        }
    });
    Table {
        caption: "Every epoch; accuracies in percent, on the val split from Clean on".into(),
        head: head.into_iter().map(String::from).collect(),
        rows: rows.collect(),
    }
}

fn attacks(run: &RunRecord) -> Vec<&str> {
    let named = run.epochs.iter().flat_map(|e| &e.val.attacks.0);
    names::in_order(named.map(|(name, _)| name.as_str()))
}

fn best_epoch(run: &RunRecord) -> Option<f64> {
    run.best().map(|best| f64::from(best.epoch))
}

fn series(
    run: &RunRecord,
    name: &str,
    color: usize,
    dashed: bool,
    value: impl Fn(&EpochMetrics) -> Option<f64>,
) -> Series {
    // An epoch without the value leaves a gap.
    let point = |e: &EpochMetrics| (f64::from(e.epoch), value(e).unwrap_or(f64::NAN));
    Series {
        name: name.into(),
        color,
        dashed,
        points: run.epochs.iter().map(point).collect(),
    }
}
