//! Rows of the results tables: evaluated runs, their baselines and the paper's own numbers.

use super::{
    evaluation::{Evaluation, SplitResult, Surrogate},
    run_record::RunRecord,
    table::{Cell, TableRow},
};

/// The splits that any run was evaluated on, `val` first.
pub fn splits(runs: &[RunRecord]) -> Vec<&str> {
    let mut splits: Vec<&str> = Vec::new();
    for (_, _, result) in all(runs) {
        if !splits.contains(&result.split.as_str()) {
            splits.push(&result.split);
        }
    }
    splits.sort_by_key(|split| *split != "val");
    splits
}

/// The results of all runs on all splits.
pub fn all(runs: &[RunRecord]) -> impl Iterator<Item = (&RunRecord, &Evaluation, &SplitResult)> {
    runs.iter().flat_map(|run| {
        let evaluation = run.evaluation.iter();
        evaluation.flat_map(move |e| e.splits.iter().map(move |result| (run, e, result)))
    })
}

/// An evaluation's result on one split.
pub fn of<'a>(evaluation: &'a Evaluation, split: &str) -> Option<&'a SplitResult> {
    let mut splits = evaluation.splits.iter();
    splits.find(|result| result.split == split)
}

/// Adversarial share of the mixed set; it is the same on all splits.
pub fn mixed_share(evaluation: &Evaluation) -> f64 {
    let first = evaluation.splits.first();
    first.map_or(0.0, |first| first.mixed.share)
}

/// The row of the model that was attacked.
pub fn baseline_row(surrogate: &Surrogate, cells: Vec<Cell>) -> TableRow {
    let hash: String = surrogate.sha256.chars().take(8).collect();
    TableRow {
        label: "Baseline".into(),
        note: format!("{}, {hash}", surrogate.name),
        reference: false,
        cells,
    }
}

/// The row of a run.
pub fn run_row(run: &RunRecord, evaluation: &Evaluation, cells: Vec<Cell>) -> TableRow {
    let model = &evaluation.model;
    let unfinished = if run.unfinished() { ", unfinished" } else { "" };
    TableRow {
        label: run.name.clone(),
        note: format!(
            "{}, width {}, epoch {}{unfinished}",
            model.method, model.width, model.epoch
        ),
        reference: false,
        cells,
    }
}

/// A row quoted from the paper.
pub fn reference_row(label: &str, cells: Vec<Cell>) -> TableRow {
    TableRow {
        label: format!("Paper, {label}"),
        note: String::new(),
        reference: true,
        cells,
    }
}
