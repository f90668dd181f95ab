//! Command line of the trainer: one file and one row of `Command` for each command.

mod bench;
mod eval;
mod options;
mod pretrain;
mod report;
mod robust;
mod shift_options;
mod train;

use base::Result;
use clap::{CommandFactory, Parser, Subcommand};
use cli::{log::LogArguments, manual::Manual};

use self::{
    bench::Bench, eval::Eval, pretrain::Pretrain, report::Report, robust::Robust, train::Train,
};

/// Trains robust image classifiers, evaluates and attacks them, and reports on runs.
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
    Train(Box<Train>),
    /// Evaluate a model on a store (per attack, on the mixed set, its detector), or on arrays or corrupted images
    Eval(Eval),
    /// Attack a model, and its detector, and report its robust accuracy
    Robust(Robust),
    /// Write one self-contained HTML page about one or more runs
    Report(Report),
    /// Measure images per second of models, training steps and attacks on this machine
    Bench(Bench),
    #[command(flatten)]
    Manual(Manual),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        self.log.apply();
        match self.command {
            Command::Pretrain(pretrain) => pretrain.run(),
            Command::Train(train) => train.run(),
            Command::Eval(eval) => eval.run(),
            Command::Robust(robust) => robust.run(),
            Command::Report(report) => report.run(),
            Command::Bench(bench) => bench.run(),
            Command::Manual(manual) => manual.write(Self::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Joint, Sampling},
        schedule::{DEFAULT_STEP_EPOCHS, DEFAULT_STEP_GAMMA},
    };

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_shows_the_defaults_of_options_that_depend_on_others() {
        let Joint {
            alpha,
            beta,
            detector_layers,
            detector_lr,
            dropout,
            ..
        } = Joint::default();
        let mut cli = Cli::command();
        let train = cli.find_subcommand_mut("train").unwrap();
        for (option, default) in [
            ("lr_step", DEFAULT_STEP_EPOCHS as f64),
            ("lr_gamma", DEFAULT_STEP_GAMMA),
            ("eta", Sampling::default().eta),
            ("alpha", alpha),
            ("beta", beta),
            ("detector_layers", detector_layers as f64),
            ("detector_lr", detector_lr),
            ("dropout", dropout),
        ] {
            let mut options = train.get_arguments();
            let option = options.find(|a| a.get_id() == option).unwrap();
            let help = option.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
    }
}
