//! Benchmarks: timed workloads on inputs that are the same at every run.

mod inputs;
pub mod print;
mod timing;
mod workload;

use base::{Error, Result};

use self::timing::Timing;
pub use self::{
    inputs::BenchInputs,
    print::{BenchRow, Outcome},
    timing::Budget,
    workload::Workload,
};

/// Times a workload; with its images per second, a row of the results.
///
/// # Errors
/// What made the workload fail; out of memory leaves the inputs usable for a smaller one.
pub fn run(workload: Workload, inputs: &BenchInputs, budget: Budget) -> Result<Outcome> {
    let batch = inputs.labels.len();
    let measure = || {
        let mut iteration = workload.prepare(inputs)?;
        let mut steps = None;
        let timing = Timing::measure(budget, &inputs.device, || {
            steps = iteration()?;
            Ok(())
        })?;
        Ok(Outcome::Measured {
            images_per_s: batch as f64 / timing.median(),
            spread: timing.spread(),
            runs: timing.runs(),
            steps,
        })
    };
    measure().map_err(|error: Error| error.of_batch(batch))
}
