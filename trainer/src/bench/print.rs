//! Benchmark results as a text table or JSON.

use std::fmt::Write;

use serde::Serialize;

use nn::Precision;

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
    /// Images over the median of the run times.
    pub images_per_s: f64,
    /// Interquartile range of the run times over their median.
    pub spread: f64,
    /// Timed runs.
    pub runs: usize,
    /// Mean attack steps per image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<f64>,
}

/// `{"results": […]}`.
pub fn json(rows: &[BenchRow]) -> String {
    format!("{:#}", serde_json::json!({ "results": rows }))
}

/// Aligned columns.
pub fn table(rows: &[BenchRow]) -> String {
    let mut out = format!(
        "{:<18}{:>12}{:>9}{:>7}{:>10}\n",
        "", "images/s", "spread", "runs", "steps"
    );
    for row in rows {
        let steps = row.steps.map_or(String::new(), |n| format!("{n:.1}"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:<18}{:>12}{:>7.1} %{:>7}{steps:>10}",
            row.name,
            rate(row.images_per_s),
            100.0 * row.spread,
            row.runs
        );
    }
    out
}

/// Images per second with three digits at least.
pub fn rate(images_per_s: f64) -> String {
    let decimals = match images_per_s {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{images_per_s:.decimals$}")
}
