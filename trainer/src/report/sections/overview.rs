//! Overview: a row per run with its progress and its best epoch on the val split.

use base::Result;
use maud::Render;

use super::Section;
use crate::report::{
    ReportData,
    format::short,
    run_record::RunRecord,
    table::{Cell, Table, TableRow},
};

/// The section of all runs.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let body = table(data.runs).render();
    Ok(vec![Section::new("runs", "Runs", "Runs", body)])
}

fn table(runs: &[RunRecord]) -> Table {
    let head = [
        "Run",
        "Seed",
        "Best epoch",
        "Clean",
        "Mixed",
        "images/s",
        "Time",
    ];
    Table {
        caption: "Accuracy in percent on the val split, at the best epoch".into(),
        head: head.map(String::from).into(),
        rows: runs.iter().map(row).collect(),
    }
}

fn row(run: &RunRecord) -> TableRow {
    let best = run.best();
    let text = |text: Option<String>| Cell::Text(text.unwrap_or("–".into()));
    let trained = !run.epochs.is_empty();
    let seconds: f64 = run.epochs.iter().map(|epoch| epoch.seconds).sum();
    let images_per_s: f64 = run.epochs.iter().map(|epoch| epoch.images_per_s).sum();
    let mean_rate = images_per_s / run.epochs.len() as f64;
    TableRow {
        label: run.name.clone(),
        note: format!("{}, {}", run.method(), run.progress()),
        reference: false,
        cells: vec![
            text(run.setting("seed")),
            text(best.map(|best| best.epoch.to_string())),
            Cell::Percent(best.and_then(|best| best.val.clean)),
            Cell::Percent(best.and_then(|best| best.val.mixed)),
            text(trained.then(|| short(mean_rate.round()))),
            text(trained.then(|| duration(seconds))),
        ],
    }
}

fn duration(seconds: f64) -> String {
    let time = std::time::Duration::try_from_secs_f64(seconds);
    time.map_or("–".into(), base::progress::duration)
}
