//! `generator attacks`: the resolved attack parameters as TOML; the options that choose them.

use std::path::PathBuf;

use attacks::{AttackConfig, Preset};
use base::{Result, log};
use clap::Args;

/// `generator attacks`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator attacks --preset standard
  generator attacks --preset paper > attacks.toml")]
pub struct Attacks {
    #[command(flatten)]
    parameters: AttackParameters,
}

impl Attacks {
    /// Prints them.
    pub fn run(self) -> Result<()> {
        log::result(self.parameters.load()?.to_toml()?)
    }
}

/// Options for the parameters of the attacks.
#[derive(Debug, Args)]
pub struct AttackParameters {
    /// Attack parameters: paper (its Table 1), standard (8/255 and the usual steps of other papers), or published
    /// (what the paper's code computes: C&W on the margin alone)
    #[arg(long, default_value = "paper", value_name = "NAME")]
    pub preset: Preset,
    /// TOML file that overrides single parameters of the preset; see `generator attacks`
    #[arg(long, value_name = "F.toml")]
    pub attacks_config: Option<PathBuf>,
}

impl AttackParameters {
    /// The resolved parameters.
    pub fn load(&self) -> Result<AttackConfig> {
        AttackConfig::load(self.preset, self.attacks_config.as_deref())
    }
}
