//! The trainer: a store (or clean pictures) comes in, trained nets and reports go out.

use clap::Parser;
use trainer::cli::Cli;

fn main() -> std::process::ExitCode {
    shared::program::run(|| Cli::parse().run())
}
