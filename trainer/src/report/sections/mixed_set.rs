//! Accuracy on the mixed set (the paper's Table 2), a column for each split.

use base::Result;
use maud::html;

use super::{Section, no_results};
use crate::report::{
    ReportData,
    elements::note,
    format::percent,
    paper, results,
    run_record::RunRecord,
    seeds,
    table::{Cell, Table, TableRow},
};

const EXPLANATION: &str = "As the paper's Table 2. In the mixed set each image of a split stands once, clean \
    or as the variant of one attack, in random order. The paper has two rows for each model. Table 2 is as \
    published: its code takes the clean half and each attack's part from images sorted by class, so that each part \
    has classes of its own. The rows implied by Table 4 are computed from its accuracies for a mixed set in random \
    order, with its six attacks in equal parts: these are the ones to compare with.";

/// The section of the mixed set.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let body = if results::splits(data.runs).is_empty() {
        no_results(data)
    } else {
        html! { (table(data.runs)) (note(EXPLANATION)) }
    };
    let heading = "Accuracy on the mixed set";
    Ok(vec![Section::new("mixed", "Mixed set", heading, body)])
}

fn table(runs: &[RunRecord]) -> Table {
    let splits = results::splits(runs);
    let mut baselines: Vec<(&RunRecord, TableRow)> = Vec::new();
    let mut run_rows = Vec::new();
    for run in runs {
        let Some(evaluation) = &run.evaluation else {
            continue;
        };
        let on_splits = || splits.iter().map(|split| results::of(evaluation, split));
        let share = results::mixed_share(evaluation);
        let cells = |accuracies: Vec<Option<f64>>| {
            let share = Cell::Text(percent(share));
            std::iter::once(share)
                .chain(accuracies.into_iter().map(Cell::Percent))
                .collect()
        };
        let of_baseline = on_splits().map(|r| r?.baseline.as_ref()?.mixed).collect();
        let of_model = on_splits().map(|r| r?.mixed.accuracy).collect();
        let baseline = results::baseline_row(&evaluation.surrogate, cells(of_baseline));
        if !baselines.iter().any(|(_, row)| *row == baseline) {
            baselines.push((run, baseline));
        }
        run_rows.push((run, results::run_row(run, evaluation, cells(of_model))));
    }
    let mut rows = seeds::with_means(baselines);
    rows.extend(seeds::with_means(run_rows));
    let reference = |label: String, share: f64, accuracy: f64| {
        let on_split = |split: &&str| Cell::Percent(Some(accuracy).filter(|_| *split == "val"));
        let share = Cell::Text(percent(share));
        let cells = std::iter::once(share).chain(splits.iter().map(on_split));
        results::reference_row(&label, cells.collect())
    };
    let published = paper::MIXED.iter().map(|(model, accuracy)| {
        reference(format!("{model}, Table 2"), paper::MIXED_SHARE, *accuracy)
    });
    rows.extend(published);
    for share in shares(runs) {
        let implied = paper::BY_ATTACK.iter().map(|(model, by_attack)| {
            let accuracy = paper::implied_mixed(by_attack, share);
            reference(format!("{model}, implied by Table 4"), share, accuracy)
        });
        rows.extend(implied);
    }
    let head = ["Model", "Attacked"]
        .into_iter()
        .chain(splits.iter().copied());
    Table {
        caption:
            "Accuracy in percent on the mixed set, by split; and the part of it that is attacked"
                .into(),
        head: head.map(String::from).collect(),
        rows,
    }
}

/// Shares of the evaluated runs' mixed sets and of the paper's, rising, each once.
fn shares(runs: &[RunRecord]) -> Vec<f64> {
    let evaluations = runs.iter().filter_map(|run| run.evaluation.as_ref());
    let mut shares: Vec<f64> = evaluations.map(results::mixed_share).collect();
    shares.push(paper::MIXED_SHARE);
    shares.retain(|share| (0.0..=1.0).contains(share));
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    shares
}
