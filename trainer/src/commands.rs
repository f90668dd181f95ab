//! The command line: arguments come in, checked settings go to the command that was named.

use cli::log::LogArguments;
use std::path::PathBuf;

use base::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use cli::manual::Manual;

use crate::{
    arguments::{Pretrain, Train},
    bench::{self, Bench},
    evaluate::Eval,
    run, show,
};

/// Trains a ResNet-34 and a detector of adversarial examples on a store of precomputed attacks.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true, after_help = cli::program::EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train the baseline on clean images: the model that is attacked afterwards
    Pretrain(Pretrain),
    /// Train a robust model on clean and adversarial images drawn from a store
    Train(Train),
    /// Measure a model on a store: per attack, on the mixed set, and its detector
    Eval(Eval),
    /// Write one self-contained HTML page about one or more runs
    Report(Report),
    /// Measure images per second of models, training steps and attacks on this machine
    Bench(Bench),
    #[command(flatten)]
    Manual(Manual),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<()> {
        self.log.apply();
        match self.command {
            Command::Pretrain(args) => run::pretrain(&args),
            Command::Train(args) => run::train(&args),
            Command::Eval(args) => args.run(),
            Command::Report(args) => show::report(&args.runs, &args.out, args.force),
            Command::Bench(args) => bench::command(&args),
            Command::Manual(manual) => manual.write(Self::command()),
        }
    }
}

/// `trainer report`.
#[derive(Debug, Args)]
struct Report {
    /// Run folders
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Output HTML page
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
    /// Replace an HTML page that is no report of this program
    #[arg(long)]
    force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
