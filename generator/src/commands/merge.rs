//! `generator merge`: the shards of one build in one store, equal to that of an undivided build. An
//! interrupted merge is resumed by the same command.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, SyncSender},
    thread,
};

use base::{Error, Result, log, output, progress::Progress, signal::Stop};
use clap::Args;
use data::Split;
use store::{ImageRow, Merger, SampleRow, Shard, Store, Writer, merge_specs};

/// Images per batch from reader to writer, few enough for the processor's cache.
const BATCH_IMAGES: usize = 64;

/// Batches that a reader may be ahead of the writer.
const READ_AHEAD: usize = 2;

/// `generator merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator merge --out cifar10.db part-*.db
  generator merge --out cifar10.db --force part-1.db part-2.db")]
pub struct Merge {
    /// Output store; an unfinished merge of the same shards is resumed
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    /// Remove an existing store and merge again
    #[arg(long)]
    force: bool,
    /// All shards of one build, in any order
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
}

impl Merge {
    /// Merges the shards.
    pub fn run(self) -> Result<()> {
        let inputs: Vec<&Path> = self.shards.iter().map(PathBuf::as_path).collect();
        let out = output::check(&self.out, &store::OUTPUT, &inputs, self.force)?;
        let stores = self.shards.iter().map(|path| Store::open_part(path));
        let mut stores = stores.collect::<Result<Vec<Store>>>()?;
        let specs = std::iter::zip(&self.shards, &stores)
            .map(|(path, store)| Ok((path.as_path(), store.spec()?)))
            .collect::<Result<Vec<_>>>()?;
        let spec = merge_specs(&specs)?;
        for (path, other) in &specs {
            if other.classes != spec.classes {
                log::warning(format_args!(
                    "{}: names the classes {}, the merged store names them as the first shard: {}",
                    path.display(),
                    other.classes.join(", "),
                    spec.classes.join(", ")
                ));
            }
        }
        let warnings: Vec<String> = stores
            .iter()
            .flat_map(|store| store.meta().warnings.clone())
            .collect();
        // In the order of image ids: shards divide every split in the order of their numbers.
        stores.sort_by_key(|store| store.meta().spec.shard.parse::<Shard>().ok());
        let mut devices: Vec<String> = Vec::new();
        for store in &stores {
            for device in store.meta().device.split("; ") {
                if !devices.iter().any(|seen| seen == device) {
                    devices.push(device.to_string());
                }
            }
        }

        let stop = Stop::listen()?;
        if self.force {
            Writer::remove(&out)?;
        }
        let mut merger = Merger::create_or_resume(&out, &spec, &devices.join("; "))?;
        if merger.is_complete() {
            log::info(format_args!("{}: already complete", self.out.display()));
            return Ok(());
        }
        let total = spec.image_count();
        log::info(format_args!(
            "merging {} shards into {}: {total} images",
            stores.len(),
            self.out.display()
        ));
        let mut bar = Progress::new("merging", total);
        copy(stores, &mut merger, &stop, &mut bar)?;
        bar.finish();
        merger.add_warnings(&warnings)?;
        merger.add_warnings(&log::warnings())?;
        let hash = merger.finish()?;
        log::info(format_args!(
            "{}: complete, content hash {hash}",
            self.out.display()
        ));
        Ok(())
    }
}

/// Copies the splits one after the other, each from all shards in turn. Each shard is read once, in order,
/// on its own thread.
fn copy(shards: Vec<Store>, merger: &mut Merger, stop: &Stop, bar: &mut Progress) -> Result<()> {
    thread::scope(|scope| {
        let start = |shard: Store| {
            let (sender, batches) = mpsc::sync_channel(READ_AHEAD);
            scope.spawn(move || read(&shard, &sender));
            batches.into_iter().peekable()
        };
        let mut shards: Vec<_> = shards.into_iter().map(start).collect();
        for split in Split::ALL {
            let is_later = |batch: &Batch| batch.split as usize > split as usize;
            let is_due = |batch: &Result<Batch>| !batch.as_ref().is_ok_and(is_later);
            for shard in &mut shards {
                while let Some(batch) = shard.next_if(is_due) {
                    let batch = batch?;
                    merger.merge_rows(&batch.images, &batch.samples)?;
                    bar.add(batch.images.len() as u64, "");
                    let stopped = stop.check("the same command goes on from here");
                    stopped.or_else(|stopped| merger.commit().and(Err(stopped)))?;
                }
            }
        }
        merger.commit()
    })
}

/// Sends all rows of a shard, and the error if reading fails, until the receiver is dropped.
fn read(shard: &Store, batches: &SyncSender<Result<Batch>>) {
    let send = |batch: Option<Batch>| {
        // Ends the loop; the receiver was dropped because of an error of its own.
        let disconnected = |_| Error::Interrupted("the writer has stopped".into());
        batch.map_or(Ok(()), |batch| {
            batches.send(Ok(batch)).map_err(disconnected)
        })
    };
    let mut batch: Option<Batch> = None;
    let all = shard.for_each_of(&Split::ALL, |image, samples| {
        let split = image.split;
        let full = |batch: &mut Batch| batch.split != split || batch.images.len() == BATCH_IMAGES;
        send(batch.take_if(full))?;
        let batch = batch.get_or_insert_with(|| Batch {
            split,
            images: Vec::new(),
            samples: Vec::new(),
        });
        batch.images.push(image);
        batch.samples.extend(samples);
        Ok(())
    });
    if let Err(error) = all.and_then(|()| send(batch)) {
        // A dropped receiver needs no error.
        let _ = batches.send(Err(error));
    }
}

/// Rows of one split that are inserted together.
struct Batch {
    split: Split,
    images: Vec<ImageRow>,
    samples: Vec<SampleRow>,
}
