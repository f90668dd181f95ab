//! The command line: arguments come in, the named command does its work.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use shared::{
    Error, Result,
    arguments::positive,
    attack::{AttackConfig, Kind, Preset},
    cifar10::synthetic,
    device::DeviceArguments,
    log::LogArguments,
    manual::Manual,
    store::{self, Shard},
};

use crate::{
    build,
    card::Card,
    export::Export,
    merge::{self, Merge},
    pack::Transport,
    preview,
};

/// Precomputes adversarial variants of pictures into one self-contained SQLite file.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true, after_help = shared::program::EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attack every picture and store what comes out; resumes an unfinished store
    Build(Build),
    /// Make one store of the shards of a build; resumes an unfinished merge
    Merge(Merge),
    /// Check every claim of a store again, from its bytes
    Verify {
        /// The store
        db: PathBuf,
    },
    /// Print what a store says of itself
    Info {
        /// The store
        db: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a store's data sheet beside it, as Croissant and as Markdown
    Card(Card),
    /// Make a smaller file of a store, for transport
    Pack(Transport),
    /// Make a store of a packed file, and check that it is the same
    Unpack(Transport),
    /// Write a store's pictures for other tools
    Export(Export),
    /// Draw pictures of a store with their variants and amplified differences
    Preview(Preview),
    /// Print the resolved parameters of all attacks, as TOML that --attacks-config reads
    Attacks {
        #[command(flatten)]
        parameters: Parameters,
    },
    /// Draw a ten-class set of pictures to try everything with, as CIFAR-10 binary files
    Synthetic(Synthetic),
    #[command(flatten)]
    Manual(Manual),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<()> {
        self.log.choose();
        match self.command {
            Command::Build(args) => build::command(&args),
            Command::Merge(args) => merge::command(&args),
            Command::Verify { db } => {
                println!("{}", store::verify(&db)?);
                Ok(())
            }
            Command::Info { db, json } => info(&db, json),
            Command::Card(args) => args.run(),
            Command::Pack(args) => args.pack(),
            Command::Unpack(args) => args.unpack(),
            Command::Export(args) => args.run(),
            Command::Preview(args) => preview::command(&args),
            Command::Attacks { parameters } => {
                print!("{}", parameters.load()?.to_toml()?);
                Ok(())
            }
            Command::Manual(manual) => manual.write(Self::command()),
            Command::Synthetic(args) => {
                synthetic::write(&args.out, args.count, args.seed, args.force)?;
                println!("{}: {} training pictures", args.out.display(), args.count);
                Ok(())
            }
        }
    }
}

fn info(db: &std::path::Path, json: bool) -> Result<()> {
    let info = store::info(db)?;
    if !json {
        println!("{info}");
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&info)
        .map_err(|reason| Error::data(db.display(), reason, "what JSON can say"))?;
    println!("{text}");
    Ok(())
}

/// `generator build`.
#[derive(Debug, Args)]
pub struct Build {
    /// Pictures: a folder of data_batch_*.bin, the official .tar.gz, or an image folder
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Weights of the net to attack (PyTorch's names), such as best.safetensors of a baseline
    #[arg(long, value_name = "W.safetensors")]
    pub model: PathBuf,
    /// The store; an unfinished one of the same settings is resumed
    #[arg(long, value_name = "DB")]
    pub out: PathBuf,
    #[command(flatten)]
    pub parameters: Parameters,
    /// Attacks to run, such as fgsm,cw, or all
    #[arg(long, default_value = "all", value_name = "A,B")]
    attacks: String,
    /// Use only N training pictures, balanced over the classes, and N/5 of val and test each
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Do only the I-th of N parts, for generator merge [default: the task of a Slurm array, or all]
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Pictures per batch: speed and memory, never the result
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = positive)]
    pub batch_size: usize,
    /// Seed of every random number
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub device: DeviceArguments,
    /// Remove a store that is there and build it anew
    #[arg(long)]
    pub force: bool,
}

impl Build {
    /// The part to do: the one asked for, or this task's of a Slurm array, or all.
    ///
    /// # Errors
    /// [`Error::Usage`] when Slurm's variables make no sense.
    pub fn shard(&self) -> Result<Shard> {
        if let Some(shard) = self.shard {
            return Ok(shard);
        }
        let number = |name: &str| match std::env::var(format!("SLURM_ARRAY_TASK_{name}")) {
            Err(_) => Ok(None),
            Ok(text) => text.parse::<u64>().map(Some).map_err(|_| {
                Error::Usage(format!("SLURM_ARRAY_TASK_{name} is '{text}', not a number"))
            }),
        };
        let (Some(id), Some(count)) = (number("ID")?, number("COUNT")?) else {
            return Ok(Shard::WHOLE);
        };
        let (first, step) = (number("MIN")?.unwrap_or(1), number("STEP")?.unwrap_or(1));
        let index = id.saturating_sub(first) / step.max(1) + 1;
        let shard = format!("{index}/{count}").parse();
        shard.map_err(|reason| Error::Usage(format!("the Slurm array's task: {reason}")))
    }

    /// The attacks to run, in the order of their numbers.
    pub fn kinds(&self) -> Result<Vec<Kind>> {
        if self.attacks == "all" {
            return Ok(Kind::ALL.to_vec());
        }
        let mut kinds = self
            .attacks
            .split(',')
            .map(|name| name.trim().parse())
            .collect::<std::result::Result<Vec<Kind>, String>>()
            .map_err(|reason| Error::Usage(format!("--attacks {}: {reason}", self.attacks)))?;
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }
}

/// Where the attacks' parameters come from.
#[derive(Debug, Args)]
pub struct Parameters {
    /// paper (its Table 1) or standard (the peers' usual ones)
    #[arg(long, default_value = "paper", value_name = "NAME")]
    pub preset: Preset,
    /// TOML that changes single parameters of the preset; see `generator attacks`
    #[arg(long, value_name = "F.toml")]
    pub attacks_config: Option<PathBuf>,
}

impl Parameters {
    /// The resolved parameters.
    pub fn load(&self) -> Result<AttackConfig> {
        AttackConfig::load(self.preset, self.attacks_config.as_deref())
    }
}

/// `generator preview`.
#[derive(Debug, Args)]
pub struct Preview {
    /// The store
    pub db: PathBuf,
    /// The sheet
    #[arg(long, value_name = "sheet.png")]
    pub out: PathBuf,
    /// Pictures on it
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = positive)]
    pub count: usize,
    /// How much differences are amplified
    #[arg(long, default_value_t = 8.0, value_name = "X")]
    pub amplify: f32,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// `generator synthetic`.
#[derive(Debug, Args)]
struct Synthetic {
    /// The folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Training pictures; a fifth as many are drawn for the test set
    #[arg(long, default_value_t = 5000, value_name = "N")]
    count: usize,
    /// Seed of the drawing
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Replace a set that is there
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
