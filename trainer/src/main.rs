//! The program `trainer`.

use trainer::commands::Cli;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

fn main() -> std::process::ExitCode {
    cli::program::run(|| cli::program::parse::<Cli>()?.run())
}
