//! `generator pack`: a store compressed into one file, for transport.

use std::path::PathBuf;

use base::{Result, log, output::Output};
use clap::Args;
use store::Store;

use crate::work::with_progress;

/// `generator pack`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator pack cifar10.db --out cifar10.mithpack
  generator pack cifar10.db --out cifar10.mithpack --force")]
pub struct Pack {
    /// Path of the store to pack
    db: PathBuf,
    /// Output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace an existing packed store
    #[arg(long)]
    force: bool,
}

impl Pack {
    /// Packs the store and prints both sizes.
    pub fn run(self) -> Result<()> {
        let out = Output::claim(&self.out, &store::PACKED_OUTPUT, &[&self.db], self.force)?;
        let store = Store::open(&self.db)?;
        let size = with_progress("packing", store.meta().spec.image_count(), |progress| {
            out.make(|partial| store::pack(&store, partial, progress))
        })?;
        let [store, packed] = [size.store, size.packed].map(|bytes| bytes as f64);
        log::result(format_args!(
            "{}: {:.1} MB, {:.1} % of {:.1} MB",
            self.out.display(),
            packed / 1e6,
            100.0 * packed / store,
            store / 1e6
        ))
    }
}
