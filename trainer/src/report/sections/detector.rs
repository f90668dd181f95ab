//! Detector accuracy and ROC AUC on the mixed set (the paper's Table 3), and for each attack alone.

use base::Result;
use maud::html;

use super::{Section, detection_tables, no_results};
use crate::report::{
    ReportData,
    elements::note,
    format::percent,
    names, paper, results,
    run_record::RunRecord,
    seeds,
    table::{Cell, Table, TableRow},
};

const EXPLANATION: &str = "As the paper's Table 3. An AUC of 0.5 is chance, 1 is perfect. One number for a mixture \
    of attacks hides those that are not detected: read it together with the tables by attack. The paper's mixture \
    is sorted by class, as that of its Table 2.";

/// The section of the detectors.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let body = if results::splits(data.runs).is_empty() {
        no_results(data)
    } else if let Some(table) = table(data.runs) {
        html! {
            (table)
            (note(EXPLANATION))
            @if let Some(counts) = unchanged_samples(data.runs) {
                (note(&format!(
                    "Samples that equal their clean image are clean to the detector. There are ({counts})."
                )))
            }
            (detection_tables::tables(data.runs))
        }
    } else {
        note("No evaluated run has a detector.")
    };
    Ok(vec![Section::new("detector", "Detector", "Detector", body)])
}

/// A row per run with a detector; none without any.
fn table(runs: &[RunRecord]) -> Option<Table> {
    let splits: Vec<&str> = results::splits(runs);
    let mut rows: Vec<(&RunRecord, TableRow)> = Vec::new();
    for run in runs {
        let Some(evaluation) = &run.evaluation else {
            continue;
        };
        let on = |split: &&str| results::of(evaluation, split)?.detector;
        if !splits.iter().any(|split| on(split).is_some()) {
            continue;
        }
        let mut cells = vec![Cell::Text(percent(results::mixed_share(evaluation)))];
        for split in &splits {
            let (detector, result) = (on(split), results::of(evaluation, split));
            cells.push(Cell::Percent(detector.map(|d| d.accuracy)));
            cells.push(Cell::Fraction(detector.and_then(|d| d.auc)));
            cells.push(Cell::Percent(result.and_then(|r| r.mixed.accuracy)));
        }
        rows.push((run, results::run_row(run, evaluation, cells)));
    }
    if rows.is_empty() {
        return None;
    }
    let mut rows = seeds::with_means(rows);
    rows.extend(
        paper::DETECTOR.map(|(input, share, layers, accuracy, classifier)| {
            let mut cells = vec![Cell::Text(percent(share))];
            for split in &splits {
                let on_val = |value: f64| Cell::Percent(Some(value).filter(|_| *split == "val"));
                cells.extend([on_val(accuracy), Cell::Fraction(None), on_val(classifier)]);
            }
            results::reference_row(&format!("{input}, {layers} layers"), cells)
        }),
    );
    let columns = splits.iter().flat_map(|split| {
        ["accuracy", "AUC", "classifier"].map(|column| format!("{split} {column}"))
    });
    Some(Table {
        caption:
            "The detector on the mixed set: accuracy in percent, area under the ROC curve; and the \
                  classifier's accuracy in percent"
                .into(),
        head: ["Run".to_string(), "Attacked".into()]
            .into_iter()
            .chain(columns)
            .collect(),
        rows,
    })
}

/// How many of each attack's samples equal their clean images, by split; none where no sample does.
fn unchanged_samples(runs: &[RunRecord]) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for (_, _, result) in results::all(runs) {
        let counts = result.unchanged.0.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{} {count}", names::label(name)))
            .collect();
        let line = format!(
            "{} of {}: {}",
            result.split,
            result.images,
            counts.join(", ")
        );
        if !counts.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}
