//! The generator: adversarial examples of a data set, precomputed into one SQLite store.

mod builder;
mod card;
mod commands;
mod export;
mod spec;
mod start;
mod warnings;
mod work;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

fn main() -> std::process::ExitCode {
    cli::program::run(|| cli::program::parse::<commands::Cli>()?.run())
}
