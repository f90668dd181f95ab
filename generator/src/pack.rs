//! Transport: a store comes in, a smaller packed file goes out, and the other way round.

use std::path::PathBuf;

use clap::Args;
use shared::{Result, files, log, signal::Stop, store};

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
        files::may_write(&self.out, self.force)?;
        let (raw, packed) = store::pack(&self.from, &self.out, &Stop::listen()?)?;
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
        files::may_write(&self.out, self.force)?;
        let hash = store::unpack(&self.from, &self.out, &Stop::listen()?)?;
        let out = self.out.display();
        log::result(format_args!("{out}: complete, content hash {hash}"))
    }
}
