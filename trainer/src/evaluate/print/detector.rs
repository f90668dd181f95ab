//! Text of a detector's results on one split: on the mixed set, and for each attack alone.

use std::fmt::Write;

use super::{line, percent};
use crate::{
    metrics::{AttackDetection, Detection},
    report::{evaluation::SplitResult, short},
};

/// The results; empty without a detector.
pub fn text(result: &SplitResult) -> String {
    let mut out = String::new();
    if let Some(detector) = result.detector {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "detector    accuracy {:.2}, ROC AUC {}, on the mixed set (share {})",
            100.0 * detector.accuracy,
            fraction(detector.auc),
            result.mixed.share
        );
    }
    if let Some(detection) = &result.detection {
        out += &by_attack(detection);
    }
    out
}

/// A line for each attack, noise last.
fn by_attack(detection: &Detection) -> String {
    let rates = |fpr: f64| [format!("TPR@{}%", short(100.0 * fpr)), "(success)".into()];
    let mut header = ["changed", "success", "ROC AUC"].map(String::from).to_vec();
    header.extend(detection.thresholds.iter().flat_map(|at| rates(at.fpr)));
    let mut out = format!("\n{}\n", line("detector", &header));
    let attacks = || detection.attacks.0.iter();
    for (name, attack) in attacks().filter(|(_, attack)| attack.adversarial) {
        out += &(line(name, &cells(attack)) + "\n");
    }
    for (name, attack) in attacks().filter(|(_, attack)| !attack.adversarial) {
        out += &(line(name, &cells(attack)) + "  (noise, not adversarial)\n");
    }
    for at in &detection.thresholds {
        let fpr = short(100.0 * at.fpr);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "TPR@{fpr}%: part with scores above {:.4}, as at most {fpr} % of the clean val images have and {} % of \
             the clean images here",
            at.score,
            percent(Some(at.measured_fpr))
        );
    }
    if let Some(reason) = &detection.no_thresholds {
        let _ = writeln!(out, "no true positive rates: {reason}");
    }
    out
}

fn cells(attack: &AttackDetection) -> Vec<String> {
    let mut cells = vec![
        attack.changed.to_string(),
        attack.successful.to_string(),
        fraction(attack.auc),
    ];
    let rates = attack.tpr.iter();
    cells.extend(rates.flat_map(|rate| [rate.changed, rate.successful].map(percent)));
    cells
}

/// A dash for none.
fn fraction(number: Option<f64>) -> String {
    number.map_or("–".into(), |number| format!("{number:.4}"))
}
