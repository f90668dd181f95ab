//! Benchmarks: timed workloads on inputs that are the same at every run.

mod inputs;
pub mod print;
mod timing;
mod workload;

use base::{Result, log};
use nn::{Precision, device};

pub use self::{inputs::BenchInputs, timing::Budget, workload::Workload};
use self::{print::BenchRow, timing::Timing};

/// Times a workload and logs its rate.
pub fn run(
    workload: Workload,
    inputs: &BenchInputs,
    budget: Budget,
    precision: Precision,
) -> Result<BenchRow> {
    let mut iteration = workload.prepare(inputs)?;
    let mut steps = None;
    let timing = Timing::measure(budget, &inputs.device, || {
        steps = iteration()?;
        Ok(())
    })?;
    let batch = inputs.labels.len();
    let row = BenchRow {
        name: workload.name(),
        width: inputs.description.width,
        batch,
        device: device::name(&inputs.device),
        precision,
        images_per_s: batch as f64 / timing.median(),
        spread: timing.spread(),
        runs: timing.runs(),
        steps,
    };
    let steps = steps.map_or(String::new(), |n| format!(", {n:.1} steps per image"));
    let rate = print::rate(row.images_per_s);
    log::info(format_args!("{:<16}{rate:>8} images/s{steps}", row.name));
    Ok(row)
}
