//! Text table of an evaluation of robustness.

use std::fmt::Write;

use super::{
    interval::wilson,
    summary::{DefenseResult, Robustness},
};

/// Aligned columns, accuracies in percent.
pub fn text(result: &Robustness) -> String {
    let model = &result.model;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} ({}, width {}, epoch {}), attacks on the model itself, {} images of {}, {} in [0,1] units\n",
        model.name,
        model.method,
        model.width,
        model.epoch,
        result.images,
        result.split,
        result.norm
    );
    let _ = write!(out, "{:<10}{:>9}", "eps", "clean");
    if let Some(first) = result.results.first() {
        for (name, _) in &first.attacks.0 {
            let _ = write!(out, "{name:>11}");
        }
    }
    let _ = writeln!(out, "{:>9}   95 % interval", "robust");
    for row in &result.results {
        let _ = write!(out, "{:<10.5}{:>9}", row.eps, percent(result.clean));
        for (_, accuracy) in &row.attacks.0 {
            let _ = write!(out, "{:>11}", percent(*accuracy));
        }
        let [low, high] = row.interval.map(percent);
        let _ = writeln!(out, "{:>9}   {low} to {high}", percent(row.robust));
    }
    if let Some(defense) = &result.detector {
        defended(&mut out, defense, result.images);
    }
    if !result.sanity.is_empty() {
        let _ = writeln!(out, "\nsanity checks");
    }
    for check in &result.sanity {
        let verdict = if check.ok { "ok    " } else { "FAILED" };
        let (value, limit) = (check.value, check.limit);
        let _ = write!(
            out,
            "  {verdict} {}: {value:.4}, limit {limit:.4}",
            check.name
        );
        let meaning = if check.ok {
            String::new()
        } else {
            format!(": {}", check.meaning)
        };
        let _ = writeln!(out, "{meaning}");
    }
    out
}

/// The model with its detector.
fn defended(out: &mut String, defense: &DefenseResult, images: usize) {
    for (index, threshold) in defense.thresholds.iter().enumerate() {
        let _ = writeln!(
            out,
            "\nwith the detector at {} % false positives of val ({} % of these images): clean and accepted {}",
            100.0 * threshold.fpr,
            percent(threshold.measured_fpr),
            percent(threshold.clean)
        );
        for row in &defense.results {
            let [low, high] = row.interval[index].map(percent);
            let _ = writeln!(
                out,
                "  eps {:.5}: robust with rejection {} ({low} to {high}); success of {}",
                row.eps,
                percent(row.robust[index]),
                row.success
                    .0
                    .iter()
                    .map(|(name, success)| format!("{name} {}", percent(success[index])))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            let claim = wilson((row.robust[index] * images as f64).round() as usize, images)[0];
            let _ = writeln!(
                out,
                "  a detector robust at eps {:.5} implies a classifier robust at {:.5} (Tramèr 2022): at least {} % \
                 of images; if no known classifier has that, the attack is too weak",
                row.eps,
                row.eps / 2.0,
                percent(claim)
            );
        }
    }
}

/// In percent.
fn percent(part: f64) -> String {
    format!("{:.2}", 100.0 * part)
}
