//! Transport: a store comes in, a smaller packed file goes out, and the other way round.

use std::path::PathBuf;

use base::{
    Result, log,
    output::{self, Output},
    signal::Stop,
};
use clap::Args;

/// `generator pack` and `generator unpack`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator pack cifar10.db --out cifar10.mithpack
  generator unpack cifar10.mithpack --out cifar10.db")]
pub struct Transport {
    /// Input: the store to pack, or the packed store to unpack
    from: PathBuf,
    /// Output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace an output of the same kind
    #[arg(long)]
    force: bool,
}

impl Transport {
    /// Packs a store.
    pub fn pack(&self) -> Result<()> {
        let out = self.claim(&store::PACKED_OUTPUT)?;
        let (raw, packed) = store::pack(&self.from, &out.path, &Stop::listen()?)?;
        log::result(format_args!(
            "{}: {:.1} MB, {:.1} % of {:.1} MB",
            self.out.display(),
            packed as f64 / 1e6,
            100.0 * packed as f64 / raw as f64,
            raw as f64 / 1e6
        ))
    }

    /// Makes the store again.
    pub fn unpack(&self) -> Result<()> {
        let out = self.claim(&store::UNPACKED_OUTPUT)?;
        let hash = store::unpack(&self.from, &out.path, &Stop::listen()?)?;
        let out = self.out.display();
        log::result(format_args!("{out}: complete, content hash {hash}"))
    }

    fn claim(&self, kind: &output::Kind) -> Result<Output> {
        Output::claim(&self.out, kind, &[&self.from], self.force)
    }
}
