//! Text tables of an evaluation: per split the rows of Tables 4 and 2 and the detector's results.

use std::fmt::Write;

use crate::{metrics::OrderedMap, report::evaluation::Evaluation};

/// Aligned columns, accuracies in percent.
pub fn text(evaluation: &Evaluation) -> String {
    let (model, surrogate) = (&evaluation.model, &evaluation.surrogate);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} ({}, width {}, epoch {}), on samples made against {} (sha256 {})",
        model.name, model.method, model.width, model.epoch, surrogate.name, surrogate.sha256
    );
    for result in &evaluation.splits {
        let mut header = format!("{:<12}{:>8}", result.split, "clean");
        for (name, _) in &result.attacks.0 {
            let _ = write!(header, "{name:>10}");
        }
        let _ = writeln!(out, "\n{header}{:>8}  ({} images)", "mixed", result.images);
        let mut row =
            |name: &str, clean: Option<f64>, attacks: &OrderedMap<f64>, mixed: Option<f64>| {
                let _ = write!(out, "{name:<12}{:>8}", percent(clean));
                for (name, _) in &result.attacks.0 {
                    let _ = write!(out, "{:>10}", percent(attacks.get(name).copied()));
                }
                let _ = writeln!(out, "{:>8}", percent(mixed));
            };
        match &result.baseline {
            Some(baseline) => row(
                "surrogate",
                baseline.clean,
                &baseline.attacks,
                baseline.mixed,
            ),
            None => row("surrogate", None, &OrderedMap::default(), None),
        }
        row(
            &model.method,
            result.clean,
            &result.attacks,
            result.mixed.accuracy,
        );
        if result.unchanged.0.iter().any(|(_, count)| *count > 0) {
            let _ = write!(out, "{:<20}", "unchanged samples");
            for (_, count) in &result.unchanged.0 {
                let _ = write!(out, "{count:>10}");
            }
            let _ = writeln!(out, "          (clean to the detector)");
        }
        if let Some(detector) = result.detector {
            let _ = writeln!(
                out,
                "detector    accuracy {:.2}, ROC AUC {}, on the mixed set (share {})",
                100.0 * detector.accuracy,
                detector.auc.map_or("–".into(), |auc| format!("{auc:.4}")),
                result.mixed.share
            );
        }
    }
    out
}

/// In percent; a dash for no images.
fn percent(part: Option<f64>) -> String {
    part.map_or("–".into(), |part| format!("{:.2}", 100.0 * part))
}
