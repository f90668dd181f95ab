//! Transport: a store comes in, a smaller packed file goes out, and the other way round.

use std::path::PathBuf;

use clap::Args;
use shared::{
    Result, log,
    output::{self, Output},
    signal::Stop,
    store,
};

/// `generator pack` and `generator unpack`.
#[derive(Debug, Args)]
pub struct Transport {
    /// What there is
    from: PathBuf,
    /// What to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there
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
