//! The trainer: a store (or clean images) comes in, trained models and reports go out.

use trainer::commands::Cli;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

fn main() -> std::process::ExitCode {
    cli::program::run(|| cli::program::parse::<Cli>()?.run())
}
