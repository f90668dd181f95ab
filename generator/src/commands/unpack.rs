//! `generator unpack`: the store in a packed file, restored.

use std::path::PathBuf;

use base::{Result, log, output::Output};
use clap::Args;
use store::PackedStore;

use crate::work::with_progress;

/// `generator unpack`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator unpack cifar10.mithpack --out cifar10.db
  generator unpack cifar10.mithpack --out cifar10.db --force")]
pub struct Unpack {
    /// Path of the packed store
    packed: PathBuf,
    /// Output file
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    /// Replace an existing store
    #[arg(long)]
    force: bool,
}

impl Unpack {
    /// Restores the store and prints its content hash.
    pub fn run(self) -> Result<()> {
        let kind = &store::UNPACKED_OUTPUT;
        let out = Output::claim(&self.out, kind, &[&self.packed], self.force)?;
        let packed = PackedStore::open(&self.packed)?;
        let hash = with_progress("unpacking", packed.image_count(), |progress| {
            packed.unpack(&out.path, progress)
        })?;
        let out = self.out.display();
        log::result(format_args!("{out}: complete, content hash {hash}"))
    }
}
