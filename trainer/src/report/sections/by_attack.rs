//! Accuracy by attack (the paper's Table 4): a table per split.

use base::Result;
use maud::html;

use super::{Section, no_results, not_evaluated};
use crate::{
    metrics::OrderedMap,
    report::{
        ReportData,
        elements::note,
        evaluation::{Baseline, Evaluation, SplitResult, Surrogate},
        names, paper, results,
        run_record::RunRecord,
        seeds,
        table::{Cell, Table},
    },
};

const EXPLANATION: &str = "As the paper's Table 4. The baseline is the model that was attacked. In the worst case an \
    image counts only if it is classified correctly clean and on every stored sample, noise included. Gray rows are \
    the paper's, measured on its own 5,000 held-out training images (our val split). \
    The best measured value of a column is bold.";

/// The section of all attacks.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let splits = results::splits(data.runs);
    let body = if splits.is_empty() {
        no_results(data)
    } else {
        html! {
            @for split in splits { (table(data.runs, split)) }
            (not_evaluated(data))
            (note(EXPLANATION))
        }
    };
    let section = Section::new("attacks", "By attack", "Accuracy by attack", body);
    Ok(vec![section])
}

/// Accuracy on clean images and on each attack's samples of one split.
fn table(runs: &[RunRecord], split: &str) -> Table {
    let measured: Vec<_> = results::all(runs)
        .filter(|(_, _, result)| result.split == split)
        .collect();
    let attacks = names::in_order(measured.iter().flat_map(|(_, _, result)| {
        let baseline = result.baseline.iter().flat_map(|of| &of.attacks.0);
        let own = result.attacks.0.iter().chain(baseline);
        own.map(|(name, _)| name.as_str())
    }));
    let accuracies = |clean: Option<f64>, on: &OrderedMap<f64>, worst_case: Option<f64>| {
        let attacked = attacks.iter().map(|attack| on.get(attack).copied());
        std::iter::once(clean)
            .chain(attacked)
            .chain([worst_case])
            .map(Cell::Percent)
            .collect()
    };

    let baseline_rows = baselines(&measured).map(|(run, surrogate, of)| {
        let cells = accuracies(of.clean, &of.attacks, of.worst_case);
        (run, results::baseline_row(surrogate, cells))
    });
    let mut rows = seeds::with_means(baseline_rows.collect());
    let run_rows = measured.iter().map(|(run, evaluation, result)| {
        let cells = accuracies(result.clean, &result.attacks, result.worst_case);
        (*run, results::run_row(run, evaluation, cells))
    });
    rows.extend(seeds::with_means(run_rows.collect()));
    rows.extend(paper::BY_ATTACK.map(|(model, accuracy)| {
        let on_attack = |attack: &&str| {
            let column = paper::ATTACKS.iter().position(|name| name == attack)?;
            accuracy.get(column + 1).copied()
        };
        let attacked = attacks.iter().map(on_attack);
        let cells = std::iter::once(Some(accuracy[0]))
            .chain(attacked)
            .chain([None]);
        results::reference_row(model, cells.map(Cell::Percent).collect())
    }));

    let mut images: Vec<u64> = measured
        .iter()
        .map(|(_, _, result)| result.images)
        .collect();
    images.sort_unstable();
    images.dedup();
    let images: Vec<String> = images.iter().map(u64::to_string).collect();
    let images = images.join(" or ");
    let mut head: Vec<String> = ["Model", "Clean"].map(String::from).to_vec();
    head.extend(attacks.iter().map(|attack| names::heading(attack)));
    head.push("Worst case".into());
    Table {
        caption: format!(
            "Accuracy in percent on the {split} split, {images} images in each column. The samples were made \
             against the baseline: they measure transfer from it, not robustness against an attack on the model \
             itself"
        ),
        head,
        rows,
    }
}

/// Each baseline once, with the first run on its store: runs on one store share theirs.
fn baselines<'a>(
    measured: &[(&'a RunRecord, &'a Evaluation, &'a SplitResult)],
) -> impl Iterator<Item = (&'a RunRecord, &'a Surrogate, &'a Baseline)> {
    let mut distinct: Vec<(&RunRecord, &Surrogate, &Baseline)> = Vec::new();
    for (run, evaluation, result) in measured {
        let Some(baseline) = &result.baseline else {
            continue;
        };
        // The share of the mixed set does not show in this table.
        let same = |(_, surrogate, of): &(&RunRecord, &Surrogate, &Baseline)| {
            **surrogate == evaluation.surrogate
                && of.clean == baseline.clean
                && of.attacks == baseline.attacks
                && of.worst_case == baseline.worst_case
        };
        if !distinct.iter().any(same) {
            distinct.push((run, &evaluation.surrogate, baseline));
        }
    }
    distinct.into_iter()
}
