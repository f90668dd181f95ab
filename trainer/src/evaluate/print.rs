//! An evaluation as text: Table 4's row, Table 2's number and the detector's, per split.

use std::fmt::Write;

use crate::{metrics::Named, report::evaluation::Evaluation};

/// Aligned columns, accuracies in percent.
pub fn text(evaluation: &Evaluation) -> String {
    let (model, surrogate) = (&evaluation.model, &evaluation.surrogate);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} ({}, width {}, epoch {}), on pictures made against {} (sha256 {})",
        model.name, model.method, model.width, model.epoch, surrogate.name, surrogate.sha256
    );
    for result in &evaluation.splits {
        let mut header = format!("{:<12}{:>8}", result.split, "clean");
        for (name, _) in &result.attacks.0 {
            let _ = write!(header, "{name:>10}");
        }
        let _ = writeln!(
            out,
            "\n{header}{:>8}  ({} pictures)",
            "mixed", result.images
        );
        let mut row = |name: &str, clean: f64, attacks: &Named<f64>, mixed: f64| {
            let _ = write!(out, "{name:<12}{:>8.2}", 100.0 * clean);
            for (_, accuracy) in &attacks.0 {
                let _ = write!(out, "{:>10.2}", 100.0 * accuracy);
            }
            let _ = writeln!(out, "{:>8.2}", 100.0 * mixed);
        };
        let baseline = &result.baseline;
        row(
            "surrogate",
            baseline.clean,
            &baseline.attacks,
            baseline.mixed,
        );
        row(
            &model.method,
            result.clean,
            &result.attacks,
            result.mixed.accuracy,
        );
        if let Some(detector) = result.detector {
            let _ = writeln!(
                out,
                "detector    accuracy {:.2}, ROC AUC {:.4}, on the mixed set (share {})",
                100.0 * detector.accuracy,
                detector.auc,
                result.mixed.share
            );
        }
    }
    out
}
