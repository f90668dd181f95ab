//! The command line: arguments come in, the named command does its work.

use cli::log::LogArguments;
use std::path::PathBuf;

use base::{Result, log};
use clap::{Args, CommandFactory, Parser, Subcommand};
use cli::manual::Manual;
use data::synthetic;

use crate::{
    arguments::{Build, Parameters},
    build,
    card::Card,
    export::Export,
    info,
    merge::{self, Merge},
    pack::Transport,
    preview::Preview,
    verify,
};

/// Precomputes adversarial variants of images into one self-contained SQLite file.
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
    Build(Build),
    /// Merge the shards of a build into one store; resumes an unfinished merge
    Merge(Merge),
    /// Verify all checksums, distances, references and hashes of a store
    Verify {
        /// Path of the store
        db: PathBuf,
    },
    /// Print a summary of a store: data set, attacks, success rates, warnings
    Info {
        /// Path of the store
        db: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a store's data sheet beside it, as Croissant and as Markdown
    Card(Card),
    /// Compress a store into a file about half as large, for transport
    Pack(Transport),
    /// Restore a store from a packed file and compare its content hash
    Unpack(Transport),
    /// Export a store's images for other tools: NumPy, PNG folders, WebDataset
    Export(Export),
    /// Draw a contact sheet: images of a store, their samples and the amplified perturbations
    Preview(Preview),
    /// Print the resolved parameters of all attacks, as TOML that --attacks-config reads
    Attacks {
        #[command(flatten)]
        parameters: Parameters,
    },
    /// Draw a synthetic data set of ten classes, as CIFAR-10 binary files
    Synthetic(Synthetic),
    #[command(flatten)]
    Manual(Manual),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<()> {
        self.log.apply();
        match self.command {
            Command::Build(args) => build::command(&args),
            Command::Merge(args) => merge::command(&args),
            Command::Verify { db } => verify::command(&db),
            Command::Info { db, json } => info::command(&db, json),
            Command::Card(args) => args.run(),
            Command::Pack(args) => args.pack(),
            Command::Unpack(args) => args.unpack(),
            Command::Export(args) => args.run(),
            Command::Preview(args) => args.run(),
            Command::Attacks { parameters } => log::result(parameters.load()?.to_toml()?),
            Command::Manual(manual) => manual.write(Self::command()),
            Command::Synthetic(args) => {
                synthetic::write(&args.out, args.count, args.seed, args.force)?;
                let (out, count) = (args.out.display(), args.count);
                log::result(format_args!("{out}: {count} training images"))
            }
        }
    }
}

/// `generator synthetic`.
#[derive(Debug, Args)]
struct Synthetic {
    /// Output directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Training images; a fifth as many are drawn for the test set
    #[arg(long, default_value_t = 5000, value_name = "N")]
    count: usize,
    /// Seed of the images
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Replace a synthetic data set that is there
    #[arg(long)]
    force: bool,
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        super::Cli::command().debug_assert();
    }
}
