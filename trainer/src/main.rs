//! The trainer: a store (or clean pictures) comes in, trained nets and reports go out.

mod augment;
mod batch;
mod bench;
mod checkpoint;
mod cli;
mod config;
mod evaluate;
mod metrics;
mod optimizer;
mod report;
mod run;
mod sampler;
mod schedule;
mod show;
mod step;

use clap::Parser;

fn main() -> std::process::ExitCode {
    shared::program::run(|| cli::Cli::parse().run())
}
