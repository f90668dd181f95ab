//! Text tables of an evaluation: per split the rows of Tables 4 and 2, the detector's results, accuracy by distance
//! and by class.

mod classes;
mod detector;
mod distance;

use std::fmt::Write;

use crate::report::evaluation::{Evaluation, SplitResult};

/// Aligned columns, accuracies in percent.
pub fn text(evaluation: &Evaluation) -> String {
    let (model, surrogate) = (&evaluation.model, &evaluation.surrogate);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{} ({}, width {}, epoch {}), on samples made against {} (sha256 {}); for any other model that is transfer",
        model.name, model.method, model.width, model.epoch, surrogate.name, surrogate.sha256
    );
    for result in &evaluation.splits {
        out += &accuracies(&model.method, result);
        out += &detector::text(result);
        out += &distance::text(&model.method, result);
        out += &classes::text(result);
    }
    out
}

/// The surrogate's and the model's accuracies, and the counts of unchanged samples.
fn accuracies(method: &str, result: &SplitResult) -> String {
    let attacks = || result.attacks.0.iter().map(|(name, _)| name.as_str());
    let mut header = vec!["clean"];
    header.extend(attacks());
    header.extend(["worst", "mixed"]);
    let mut out = format!(
        "\n{}  ({} images)\n",
        line(&result.split, &header),
        result.images
    );
    let surrogate = result.baseline.as_ref();
    let mut row = |name: &str, accuracies: Vec<Option<f64>>| {
        let cells: Vec<String> = accuracies.into_iter().map(percent).collect();
        out += &(line(name, &cells) + "\n");
    };
    let mut cells = vec![surrogate.and_then(|of| of.clean)];
    cells.extend(attacks().map(|name| surrogate?.attacks.get(name).copied()));
    cells.extend([
        surrogate.and_then(|of| of.worst_case),
        surrogate.and_then(|of| of.mixed),
    ]);
    row("surrogate", cells);
    let mut cells = vec![result.clean];
    cells.extend(attacks().map(|name| result.attacks.get(name).copied()));
    cells.extend([result.worst_case, result.mixed.accuracy]);
    row(method, cells);
    if result.unchanged.0.iter().any(|(_, count)| *count > 0) {
        out += &format!("{:<22}", "unchanged samples");
        for (_, count) in &result.unchanged.0 {
            out += &format!("{count:>10}");
        }
        out += "  (clean to the detector)\n";
    }
    out
}

/// A name and right-aligned cells.
fn line(name: &str, cells: &[impl AsRef<str>]) -> String {
    let mut line = format!("{name:<12}");
    for cell in cells {
        // Writing to a string cannot fail.
        let _ = write!(line, "{:>10}", cell.as_ref());
    }
    line
}

/// In percent; a dash for no images.
fn percent(part: Option<f64>) -> String {
    part.map_or("–".into(), |part| format!("{:.2}", 100.0 * part))
}
