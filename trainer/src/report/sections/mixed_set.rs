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
    table::{Cell, Table, TableRow},
};

const EXPLANATION: &str = "As the paper's Table 2. In the mixed set each image of a split stands once, clean \
    or as the variant of one attack.";

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
    let mut rows: Vec<TableRow> = Vec::new();
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
        if !rows.contains(&baseline) {
            rows.push(baseline);
        }
        run_rows.push(results::run_row(run, evaluation, cells(of_model)));
    }
    rows.extend(run_rows);
    rows.extend(paper::MIXED.map(|(model, accuracy)| {
        let on_split = |split: &&str| Cell::Percent(Some(accuracy).filter(|_| *split == "val"));
        let share = Cell::Text("50.0".into());
        let cells = std::iter::once(share).chain(splits.iter().map(on_split));
        results::reference_row(model, cells.collect())
    }));
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
