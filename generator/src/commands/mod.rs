//! The command line: one module per command, each a struct of arguments with `run`.

mod attacks;
mod build;
mod card;
mod export;
mod info;
mod merge;
mod pack;
mod preview;
mod synthetic;
mod unpack;
mod verify;

use base::Result;
use clap::{CommandFactory, Parser, Subcommand};
use cli::{log::LogArguments, manual::Manual};

use self::{
    attacks::Attacks, build::Build, card::Card, export::Export, info::Info, merge::Merge,
    pack::Pack, preview::Preview, synthetic::Synthetic, unpack::Unpack, verify::Verify,
};

/// Precompute adversarial examples of a data set into one self-contained SQLite store.
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
    /// Attack every image of a data set and write the samples to a store; resumes an unfinished one
    Build(Box<Build>),
    /// Merge the shards of a build into one store; resumes an unfinished merge
    Merge(Merge),
    /// Verify all checksums, distances, references and hashes of a store
    Verify(Verify),
    /// Print a summary of a store: data set, attacks, success rates, warnings
    Info(Info),
    /// Write the data sheet of a store beside it, as Croissant and as Markdown
    Card(Card),
    /// Compress a store into a file about half as large, for transport
    Pack(Pack),
    /// Restore a store from a packed file and check its content hash
    Unpack(Unpack),
    /// Export the images of a store for other tools: NumPy, PNG folders, WebDataset
    Export(Export),
    /// Draw a contact sheet: images of a store, their samples and the amplified perturbations
    Preview(Preview),
    /// Print the resolved parameters of all attacks, as TOML that --attacks-config reads
    Attacks(Attacks),
    /// Draw a synthetic data set of ten classes, as CIFAR-10 binary files
    Synthetic(Synthetic),
    #[command(flatten)]
    Manual(Manual),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        self.log.apply();
        match self.command {
            Command::Build(command) => command.run(),
            Command::Merge(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Card(command) => command.run(),
            Command::Pack(command) => command.run(),
            Command::Unpack(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Preview(command) => command.run(),
            Command::Attacks(command) => command.run(),
            Command::Synthetic(command) => command.run(),
            Command::Manual(manual) => manual.write(Self::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_text_has_examples() {
        for command in Cli::command().get_subcommands() {
            let is_manual = matches!(command.get_name(), "completions" | "man");
            let after = command.get_after_help().map(ToString::to_string);
            let has_example = after.is_some_and(|text| text.contains("\n  generator "));
            assert!(is_manual || has_example, "{}", command.get_name());
        }
    }
}
