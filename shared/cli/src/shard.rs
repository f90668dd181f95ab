//! `--shard I/N|slurm`: the part of a build to do, also from the variables of a Slurm array.

use std::str::FromStr;

use base::{Error, Result};
use store::Shard;

/// The part of a build to do.
#[derive(Clone, Copy, Debug)]
pub enum ShardChoice {
    /// The I-th of N parts.
    Part(Shard),
    /// The part of this Slurm task. Read only on request, since an array may run over seeds instead.
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

impl ShardChoice {
    /// The shard.
    ///
    /// # Errors
    /// [`Error::Usage`] when Slurm's variables are missing or make no sense.
    pub fn resolve(self) -> Result<Shard> {
        match self {
            Self::Part(shard) => Ok(shard),
            Self::Slurm => slurm_shard(),
        }
    }
}

fn slurm_shard() -> Result<Shard> {
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
