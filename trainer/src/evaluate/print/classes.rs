//! Text of the accuracy of each class, on one split.

use super::percent;
use crate::report::evaluation::SplitResult;

/// More classes than these are left to `--json`.
const MAX_CLASSES: usize = 20;

/// A line for each class; empty without images.
pub fn text(result: &SplitResult) -> String {
    let Some(classes) = &result.classes else {
        return String::new();
    };
    if classes.names.len() > MAX_CLASSES {
        return format!(
            "\naccuracy of each of {} classes: --json\n",
            classes.names.len()
        );
    }
    let names = classes.names.iter().map(|name| name.chars().count());
    let width = names.max().unwrap_or(0).max(10) + 2;
    let row = |name: &str, cells: [String; 3]| {
        let [images, clean, worst] = cells;
        format!("{name:<width$}{images:>10}{clean:>10}{worst:>10}\n")
    };
    let mut out = format!(
        "\n{}",
        row("class", ["images", "clean", "worst"].map(String::from))
    );
    for (class, name) in classes.names.iter().enumerate() {
        let images = classes.images.get(class).copied().unwrap_or(0);
        let accuracy = |of: &[Option<f64>]| percent(of.get(class).copied().flatten());
        let worst = classes.worst_case.as_ref();
        let worst = worst.map_or(percent(None), |of| accuracy(&of.accuracy));
        let clean = accuracy(&classes.clean.accuracy);
        out += &row(name, [images.to_string(), clean, worst]);
    }
    out
}
