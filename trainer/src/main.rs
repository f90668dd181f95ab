//! The trainer.
mod optimizer;
mod report;
mod sampler;
mod schedule;
fn main() {}
