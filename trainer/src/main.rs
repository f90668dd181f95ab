//! The trainer: a store (or clean pictures) comes in, trained nets and reports go out.

use trainer::cli::Cli;

fn main() -> std::process::ExitCode {
    shared::program::run(|| shared::program::parse::<Cli>()?.run())
}
