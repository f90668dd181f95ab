//! Transport: a store comes in, a smaller packed file goes out, and the other way round.

use std::path::PathBuf;

use base::{
    Result, log,
    output::{self, Output},
    progress::Progress,
    signal::Stop,
};
use clap::Args;
use store::{PackedStore, Store};

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
        let store = Store::open(&self.from)?;
        let size = with_progress("packing", store.meta().spec.image_count(), |progress| {
            store::pack(&store, &out.path, progress)
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

    /// Makes the store again.
    pub fn unpack(&self) -> Result<()> {
        let out = self.claim(&store::UNPACKED_OUTPUT)?;
        let packed = PackedStore::open(&self.from)?;
        let hash = with_progress("unpacking", packed.image_count(), |progress| {
            packed.unpack(&out.path, progress)
        })?;
        let out = self.out.display();
        log::result(format_args!("{out}: complete, content hash {hash}"))
    }

    fn claim(&self, kind: &output::Kind) -> Result<Output> {
        Output::claim(&self.out, kind, &[&self.from], self.force)
    }
}

/// Does `work` with a bar that its progress advances, until it is done or stopped by a signal.
fn with_progress<T>(
    title: &str,
    images: u64,
    work: impl FnOnce(&mut dyn FnMut(u64) -> Result<()>) -> Result<T>,
) -> Result<T> {
    let stop = Stop::listen()?;
    let mut bar = Progress::new(title, images);
    let done = work(&mut |images| {
        bar.add(images, "");
        stop.check("the same command begins anew")
    })?;
    bar.finish();
    Ok(done)
}
