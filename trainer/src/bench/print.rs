//! Benchmark results, row by row: lines of a text table, or JSON Lines.

use serde::Serialize;

use nn::{Precision, device};

use super::{BenchInputs, Workload};

/// The result of one benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct BenchRow {
    /// The workload.
    pub name: String,
    /// The models' width.
    pub width: usize,
    /// Images per run.
    pub batch: usize,
    /// The device.
    pub device: String,
    /// Arithmetic.
    pub precision: Precision,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Rates, or why there are none.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// The workload ran.
    Measured {
        /// Images over the median of the run times.
        images_per_s: f64,
        /// Interquartile range of the run times over their median.
        spread: f64,
        /// Timed runs.
        runs: usize,
        /// Mean attack steps per image.
        #[serde(skip_serializing_if = "Option::is_none")]
        steps: Option<f64>,
    },
    /// The workload failed.
    Failed {
        /// The message of the error.
        error: String,
    },
}

/// The names of the columns of [`BenchRow::line`].
pub fn header() -> String {
    format!(
        "{:<18}{:>12}{:>9}{:>7}{:>10}",
        "", "images/s", "spread", "runs", "steps"
    )
}

impl BenchRow {
    /// The row of a workload on these inputs.
    pub fn new(
        workload: Workload,
        inputs: &BenchInputs,
        precision: Precision,
        outcome: Outcome,
    ) -> Self {
        Self {
            name: workload.name(),
            width: inputs.description.width,
            batch: inputs.labels.len(),
            device: device::name(&inputs.device),
            precision,
            outcome,
        }
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Aligned columns.
    pub fn line(&self) -> String {
        match &self.outcome {
            Outcome::Measured {
                images_per_s,
                spread,
                runs,
                steps,
            } => {
                let steps = steps.map_or(String::new(), |n| format!("{n:.1}"));
                let (rate, percent) = (rate(*images_per_s), 100.0 * spread);
                format!(
                    "{:<18}{rate:>12}{percent:>7.1} %{runs:>7}{steps:>10}",
                    self.name
                )
                .trim_end()
                .into()
            }
            Outcome::Failed { error } => format!("{:<18}failed: {error}", self.name),
        }
    }
}

/// Images per second with three digits at least.
fn rate(images_per_s: f64) -> String {
    let decimals = match images_per_s {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{images_per_s:.decimals$}")
}
