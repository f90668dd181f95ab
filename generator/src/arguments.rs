//! The arguments of a build: what the command line says comes in, which part of the pictures and which
//! attacks it means goes out.

use std::path::PathBuf;

use clap::Args;
use shared::{
    Error, Result,
    arguments::positive,
    attack::{AttackConfig, Kind, Preset},
    device::DeviceArguments,
    store::Shard,
};

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
