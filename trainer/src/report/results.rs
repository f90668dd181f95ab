//! The tables of results: evaluated runs come in, the paper's Tables 2, 3 and 4 go out with the
//! runs' numbers above the paper's own.

use super::{
    evaluation::{Baseline, Evaluation, SplitResult, Surrogate},
    names, paper,
    run::Run,
    table::{Cell, Row, Table},
};
use crate::metrics::Named;

/// The splits that any run was evaluated on, `val` first.
pub fn splits(runs: &[Run]) -> Vec<&str> {
    let mut splits: Vec<&str> = Vec::new();
    for (_, _, result) in results(runs) {
        if !splits.contains(&result.split.as_str()) {
            splits.push(&result.split);
        }
    }
    splits.sort_by_key(|split| *split != "val");
    splits
}

/// Table 4 on one split: accuracy on clean images and on each attack's variants of them.
pub fn by_attack(runs: &[Run], split: &str) -> Table {
    let measured: Vec<_> = results(runs).filter(|(_, _, r)| r.split == split).collect();
    let attacks = names::in_order(measured.iter().flat_map(|(_, _, result)| {
        let baseline = result.baseline.iter().flat_map(|of| &of.attacks.0);
        let own = result.attacks.0.iter().chain(baseline);
        own.map(|(name, _)| name.as_str())
    }));
    let accuracies = |clean: Option<f64>, on: &Named<f64>| {
        let attacked = attacks.iter().map(|attack| on.get(attack).copied());
        std::iter::once(clean)
            .chain(attacked)
            .map(Cell::Percent)
            .collect()
    };

    let mut rows: Vec<Row> = baselines(&measured)
        .map(|(surrogate, of)| baseline_row(surrogate, accuracies(of.clean, &of.attacks)))
        .collect();
    rows.extend(measured.iter().map(|(run, evaluation, result)| {
        run_row(run, evaluation, accuracies(result.clean, &result.attacks))
    }));
    rows.extend(paper::BY_ATTACK.map(|(net, accuracy)| {
        let on_attack = |attack: &&str| {
            let column = paper::ATTACKS.iter().position(|name| name == attack)?;
            accuracy.get(column + 1).copied()
        };
        let attacked = attacks.iter().map(on_attack);
        let cells = std::iter::once(Some(accuracy[0])).chain(attacked);
        reference_row(net, cells.map(Cell::Percent).collect())
    }));

    let images = measured
        .iter()
        .map(|(_, _, result)| result.images)
        .max()
        .unwrap_or(0);
    let headings = attacks.iter().map(|attack| names::label(attack));
    Table {
        caption: format!(
            "Accuracy in percent on the {split} split, {images} images in each column"
        ),
        head: ["Net", "Clean"]
            .into_iter()
            .chain(headings)
            .map(String::from)
            .collect(),
        rows,
    }
}

/// Table 2: accuracy on the mixed set, a column for each split.
pub fn mixed(runs: &[Run]) -> Table {
    let splits = splits(runs);
    let mut rows: Vec<Row> = Vec::new();
    let mut runs_rows = Vec::new();
    for run in runs {
        let Some(evaluation) = &run.evaluation else {
            continue;
        };
        let results = || splits.iter().map(|split| result(evaluation, split));
        let share = evaluation
            .splits
            .first()
            .map_or(0.0, |first| first.mixed.share);
        let cells = |values: Vec<Option<f64>>| {
            let share = Cell::Text(super::html::percent(share));
            std::iter::once(share)
                .chain(values.into_iter().map(Cell::Percent))
                .collect()
        };
        let of_baseline = results().map(|r| r?.baseline.as_ref()?.mixed).collect();
        let of_net = results().map(|r| r?.mixed.accuracy).collect();
        let baseline = baseline_row(&evaluation.surrogate, cells(of_baseline));
        if !rows.contains(&baseline) {
            rows.push(baseline);
        }
        runs_rows.push(run_row(run, evaluation, cells(of_net)));
    }
    rows.extend(runs_rows);
    rows.extend(paper::MIXED.map(|(net, accuracy)| {
        let on_split = |split: &&str| Cell::Percent(Some(accuracy).filter(|_| *split == "val"));
        let share = Cell::Text("50.0".into());
        let cells = std::iter::once(share).chain(splits.iter().map(on_split));
        reference_row(net, cells.collect())
    }));
    let head = ["Net", "Attacked"]
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

/// Table 3: how well the detectors tell attacked images from clean ones; none where no run
/// has a detector.
pub fn detector(runs: &[Run]) -> Option<Table> {
    let splits: Vec<&str> = splits(runs);
    let mut rows: Vec<Row> = Vec::new();
    for run in runs {
        let Some(evaluation) = &run.evaluation else {
            continue;
        };
        let on = |split: &&str| result(evaluation, split)?.detector;
        if !splits.iter().any(|split| on(split).is_some()) {
            continue;
        }
        let share = evaluation
            .splits
            .first()
            .map_or(0.0, |first| first.mixed.share);
        let mut cells = vec![Cell::Text(super::html::percent(share))];
        for detector in splits.iter().map(on) {
            cells.push(Cell::Percent(detector.map(|d| d.accuracy)));
            cells.push(Cell::Part(detector.and_then(|d| d.auc)));
        }
        rows.push(run_row(run, evaluation, cells));
    }
    if rows.is_empty() {
        return None;
    }
    rows.extend(paper::DETECTOR.map(|(input, share, accuracy)| {
        let mut cells = vec![Cell::Text(super::html::percent(share))];
        for split in &splits {
            cells.push(Cell::Percent(Some(accuracy).filter(|_| *split == "val")));
            cells.push(Cell::Part(None));
        }
        reference_row(&format!("{input}, 2 layers"), cells)
    }));
    let columns = splits
        .iter()
        .flat_map(|split| [format!("{split} accuracy"), format!("{split} AUC")]);
    Some(Table {
        caption: "The detector on the mixed set: accuracy in percent, area under the ROC curve"
            .into(),
        head: ["Run".to_string(), "Attacked".into()]
            .into_iter()
            .chain(columns)
            .collect(),
        rows,
    })
}

fn results(runs: &[Run]) -> impl Iterator<Item = (&Run, &Evaluation, &SplitResult)> {
    runs.iter().flat_map(|run| {
        let evaluation = run.evaluation.iter();
        evaluation.flat_map(move |e| e.splits.iter().map(move |result| (run, e, result)))
    })
}

fn result<'a>(evaluation: &'a Evaluation, split: &str) -> Option<&'a SplitResult> {
    evaluation
        .splits
        .iter()
        .find(|result| result.split == split)
}

/// How many of each attack's samples equal their clean images, by split; none where no sample does.
pub fn unchanged(runs: &[Run]) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    for (_, _, result) in results(runs) {
        let counts = result.unchanged.0.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{} {count}", names::label(name)))
            .collect();
        let text = format!(
            "{} of {}: {}",
            result.split,
            result.images,
            counts.join(", ")
        );
        if !counts.is_empty() && !said.contains(&text) {
            said.push(text);
        }
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// Each baseline once: runs on one store share theirs.
fn baselines<'a>(
    measured: &[(&'a Run, &'a Evaluation, &'a SplitResult)],
) -> impl Iterator<Item = (&'a Surrogate, &'a Baseline)> {
    let mut seen: Vec<(&Surrogate, &Baseline)> = Vec::new();
    for (_, evaluation, result) in measured {
        let Some(baseline) = &result.baseline else {
            continue;
        };
        let baseline = (&evaluation.surrogate, baseline);
        // Another share of the mixed set makes no other baseline here.
        let same = |(surrogate, of): &(&Surrogate, &Baseline)| {
            *surrogate == baseline.0
                && of.clean == baseline.1.clean
                && of.attacks == baseline.1.attacks
        };
        if !seen.iter().any(same) {
            seen.push(baseline);
        }
    }
    seen.into_iter()
}

fn baseline_row(surrogate: &Surrogate, cells: Vec<Cell>) -> Row {
    let hash: String = surrogate.sha256.chars().take(8).collect();
    Row {
        label: "Baseline".into(),
        note: format!("{}, {hash}", surrogate.name),
        reference: false,
        cells,
    }
}

fn run_row(run: &Run, evaluation: &Evaluation, cells: Vec<Cell>) -> Row {
    let model = &evaluation.model;
    let unfinished = if run.unfinished() { ", unfinished" } else { "" };
    Row {
        label: run.name.clone(),
        note: format!(
            "{}, width {}, epoch {}{unfinished}",
            model.method, model.width, model.epoch
        ),
        reference: false,
        cells,
    }
}

fn reference_row(what: &str, cells: Vec<Cell>) -> Row {
    Row {
        label: format!("Paper, {what}"),
        note: String::new(),
        reference: true,
        cells,
    }
}
