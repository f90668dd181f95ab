//! The trainer.
mod augment;
mod optimizer;
mod report;
mod sampler;
mod schedule;
fn main() {}
