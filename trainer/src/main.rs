//! The trainer.
mod augment;
mod metrics;
mod optimizer;
mod report;
mod sampler;
mod schedule;
fn main() {}
