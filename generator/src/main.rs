//! The generator: pictures and a trained net come in, an adversarial store goes out.

mod arguments;
mod build;
mod card;
mod cli;
mod export;
mod identity;
mod merge;
mod pack;
mod preview;
mod warnings;

fn main() -> std::process::ExitCode {
    shared::program::run(|| shared::program::parse::<cli::Cli>()?.run())
}
