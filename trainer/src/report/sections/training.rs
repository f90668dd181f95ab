//! Training of one run: charts over its epochs, its numbers, warnings and configuration.

use base::Result;
use maud::{Markup, html};
use toml::{Table as Config, Value};

use super::Section;
use crate::report::{
    ReportData, curves,
    elements::{details, note, scrollable},
    format::percent,
    run_record::{RunRecord, setting_text},
};

/// A section per run.
pub fn sections(data: &ReportData) -> Result<Vec<Section>> {
    let section = |(number, run): (usize, &RunRecord)| {
        Section::new(&format!("run-{number}"), &run.name, &run.name, body(run))
    };
    Ok((1..).zip(data.runs).map(section).collect())
}

fn body(run: &RunRecord) -> Markup {
    let warnings = run.evaluation.iter().flat_map(|e| &e.warnings);
    html! {
        (note(&format!("{}, {}.", run.method(), run.progress())))
        @if run.epochs.is_empty() {
            (note("No epoch is done yet: there is nothing to draw."))
        } @else {
            (best_epoch(run))
            div.charts { (curves::charts(run)) }
            (details("Numbers of every epoch", &html! { (curves::table(run)) }))
        }
        @for warning in warnings { (note(&format!("Warning: {warning}"))) }
        (details("Configuration", &configuration(&run.config)))
    }
}

fn best_epoch(run: &RunRecord) -> Markup {
    let Some(best) = run.best() else {
        return Markup::default();
    };
    let clean = best.val.clean.map_or("–".into(), percent);
    let also = |accuracy: Option<f64>, on: &str| {
        accuracy.map_or(String::new(), |accuracy| {
            format!(", {} % {on}", percent(accuracy))
        })
    };
    let mixed = also(best.val.mixed, "on the mixed set");
    let robust = also(best.val.robust, "under attack on the model itself");
    note(&format!(
        "Best epoch {}, marked in the charts: {clean} % on clean images{mixed}{robust} (val). \
         Legends give the last epoch's values.",
        best.epoch
    ))
}

fn configuration(config: &Config) -> Markup {
    let mut settings = Vec::new();
    for (key, value) in config {
        flatten(key, value, &mut settings);
    }
    let table = html! {
        table.settings {
            caption { span { "config.toml" } }
            tbody {
                @for (key, value) in &settings {
                    tr { th scope="row" { (key) } td { (value) } }
                }
            }
        }
    };
    scrollable("Configuration", &table)
}

/// A value in a table goes by its dotted key, as in `bounds.fgsm`.
fn flatten(key: &str, value: &Value, settings: &mut Vec<(String, String)>) {
    if let Value::Table(table) = value {
        for (inner, value) in table {
            flatten(&format!("{key}.{inner}"), value, settings);
        }
    } else {
        settings.push((key.to_string(), setting_text(value)));
    }
}
