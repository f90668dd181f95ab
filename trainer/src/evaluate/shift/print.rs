//! Text of an evaluation on arrays or corruptions.

use std::fmt::Write;

use super::{ArraysEvaluation, CorruptionEvaluation, result::Source};
use crate::report::evaluation::Model;

impl ArraysEvaluation {
    /// The accuracy, in percent.
    pub fn text(&self) -> String {
        format!(
            "{}\naccuracy {:.2} ({} of {} images)\n",
            title(&self.model),
            100.0 * self.accuracy,
            self.correct,
            self.images
        )
    }
}

impl CorruptionEvaluation {
    /// A row for each corruption, a column for each severity and the mean; in percent, a dash for what was not
    /// evaluated.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let source = match self.source {
            Source::Files => "files of CIFAR-10-C",
            Source::Computed => "corruptions computed by trainer",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}, on {source}", title(&self.model));
        if let Some(clean) = self.clean {
            let _ = writeln!(out, "\nclean {:.2}", 100.0 * clean);
        }
        let _ = write!(out, "\n{:<20}", "severity");
        for severity in 1..=5 {
            let _ = write!(out, "{severity:>8}");
        }
        let _ = writeln!(out, "{:>8}  ({} images each)", "mean", self.images);
        for row in &self.corruptions {
            let _ = write!(out, "{:<20}", row.name);
            for accuracy in row.severities {
                let _ = write!(out, "{:>8}", percent(accuracy));
            }
            let _ = writeln!(out, "{:>8}", percent(row.mean));
        }
        let (cells, all) = (self.cells, self.all_cells);
        let _ = writeln!(
            out,
            "\nmean {} over {cells} of {all} cells",
            percent(self.mean)
        );
        let without = percent(self.mean_without_noise);
        let _ = writeln!(out, "mean {without} without the three noises");
        if !self.missing.is_empty() {
            let _ = writeln!(out, "not evaluated: {}", self.missing.join(", "));
        }
        out
    }
}

fn title(model: &Model) -> String {
    format!(
        "{} ({}, width {}, epoch {})",
        model.name, model.method, model.width, model.epoch
    )
}

/// In percent; a dash for none.
fn percent(part: Option<f64>) -> String {
    part.map_or("–".into(), |part| format!("{:.2}", 100.0 * part))
}
