//! The generator: images and a trained model come in, an adversarial store goes out.

mod arguments;
mod build;
mod card;
mod commands;
mod export;
mod identity;
mod info;
mod merge;
mod pack;
mod preview;
mod verify;
mod warnings;

#[global_allocator]
static ALLOCATOR: cli::Allocator = cli::Allocator;

fn main() -> std::process::ExitCode {
    cli::program::run(|| cli::program::parse::<commands::Cli>()?.run())
}
