//! The arguments of a build: what the command line says comes in, which part of the images and which
//! attacks it means goes out.

use cli::normalization::NormalizationArguments;
use std::{path::PathBuf, str::FromStr};

use attacks::{AttackConfig, AttackKind, Preset};
use base::{Error, Result};
use clap::Args;
use cli::{arguments::positive, device::DeviceArguments};
use store::Shard;

/// `generator build`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator build --data cifar-10-batches-bin --model runs/baseline/best.safetensors --out cifar10.db
  generator build --data cifar10/ --model public.safetensors --mean 0.4914,0.4822,0.4465 \\
      --std 0.2023,0.1994,0.2010 --preset standard --attacks fgsm,bim --limit 2000 --out small.db
  generator build --data cifar10/ --model best.safetensors --shard 3/8 --out part-3.db")]
pub struct Build {
    /// Images: CIFAR-10 or CIFAR-100, binary or Python version (folder or .tar.gz), or an image folder
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Weights of the model to attack (PyTorch's names), such as best.safetensors of a baseline
    #[arg(long, value_name = "W.safetensors")]
    pub model: PathBuf,
    #[command(flatten)]
    pub normalization: NormalizationArguments,
    /// The store; an unfinished one of the same settings is resumed
    #[arg(long, value_name = "DB")]
    pub out: PathBuf,
    #[command(flatten)]
    pub parameters: Parameters,
    /// Attacks to run, such as fgsm,cw; all: the six of the paper. Others run only when named
    #[arg(long, default_value = "all", value_name = "A,B")]
    attacks: String,
    /// Use only N training images, a multiple of the class count and balanced over the classes, and N/5 of val and test each
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Do only the I-th of N parts, for generator merge; slurm: the part of this task of a Slurm array
    #[arg(long, value_name = "I/N|slurm")]
    shard: Option<ShardChoice>,
    /// Images per batch: speed and memory, never the result
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
    /// The part to do: the one asked for, or all.
    ///
    /// # Errors
    /// [`Error::Usage`] when Slurm is asked and its variables are missing or make no sense.
    pub fn shard(&self) -> Result<Shard> {
        match self.shard {
            None => return Ok(Shard::WHOLE),
            Some(ShardChoice::Part(shard)) => return Ok(shard),
            Some(ShardChoice::Slurm) => {}
        }
        let number = |name: &str| match std::env::var(format!("SLURM_ARRAY_TASK_{name}")) {
            Err(_) => Ok(None),
            Ok(text) => text.parse::<u64>().map(Some).map_err(|_| {
                Error::Usage(format!("SLURM_ARRAY_TASK_{name} is '{text}', not a number"))
            }),
        };
        let (Some(id), Some(count)) = (number("ID")?, number("COUNT")?) else {
            let advice = "SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT are not set";
            return Err(Error::Usage(format!(
                "--shard slurm: {advice}; is this a task of an array?"
            )));
        };
        let (first, step) = (number("MIN")?.unwrap_or(1), number("STEP")?.unwrap_or(1));
        let index = id.saturating_sub(first) / step.max(1) + 1;
        let shard = format!("{index}/{count}").parse();
        shard.map_err(|reason| Error::Usage(format!("the Slurm array's task: {reason}")))
    }

    /// The attacks to run, in the order of their ids.
    pub fn kinds(&self) -> Result<Vec<AttackKind>> {
        if self.attacks == "all" {
            return Ok(AttackKind::paper());
        }
        let mut kinds = self
            .attacks
            .split(',')
            .map(|name| name.trim().parse())
            .collect::<std::result::Result<Vec<AttackKind>, String>>()
            .map_err(|reason| Error::Usage(format!("--attacks {}: {reason}", self.attacks)))?;
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }
}

/// Which part of a build to do.
#[derive(Clone, Copy, Debug)]
enum ShardChoice {
    Part(Shard),
    /// What Slurm's variables say. They are not asked unless this is: an array may run over seeds.
    Slurm,
}

impl FromStr for ShardChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "slurm" => Ok(Self::Slurm),
            part => part.parse().map(Self::Part),
        }
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
