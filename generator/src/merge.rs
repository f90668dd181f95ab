//! Merging: the shards of one build come in, the store that an undivided build would have made goes
//! out. A merge that was stopped goes on where it was when the same command is given again.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, SyncSender},
    thread,
};

use base::{Error, Result, log, output, progress::Progress, signal::Stop};
use clap::Args;
use data::Split;
use store::{ImageRow, Merger, SampleRow, Shard, Store, Writer, merge_specs};

/// Images that are read and handed over together: so few that a processor's cache holds them.
const AT_ONCE: usize = 64;

/// Such batches that are read of a shard before they are asked for.
const READ_AHEAD: usize = 2;

/// `generator merge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  generator merge --out cifar10.db part-*.db")]
pub struct Merge {
    /// The store to make; an unfinished merge of the same shards is resumed
    #[arg(long, value_name = "DB")]
    pub out: PathBuf,
    /// Remove a store that is there and merge anew
    #[arg(long)]
    pub force: bool,
    /// All shards of one build, in any order
    #[arg(required = true, value_name = "SHARD")]
    pub shards: Vec<PathBuf>,
}

/// Merges the shards.
pub fn command(args: &Merge) -> Result<()> {
    let inputs: Vec<&Path> = args.shards.iter().map(PathBuf::as_path).collect();
    let out = output::check(&args.out, &store::OUTPUT, &inputs, args.force)?;
    let stores = args.shards.iter().map(|path| Store::open_part(path));
    let mut stores = stores.collect::<Result<Vec<Store>>>()?;
    let specs = std::iter::zip(&args.shards, &stores)
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
    // In the order of ids: shards divide every split in the order of their numbers.
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
    if args.force {
        Writer::remove(&out)?;
    }
    let mut merger = Merger::create_or_resume(&out, &spec, &devices.join("; "))?;
    if merger.is_complete() {
        log::info(format_args!("{}: already complete", args.out.display()));
        return Ok(());
    }
    let total = spec.image_count();
    log::info(format_args!(
        "merging {} shards into {}: {total} images",
        stores.len(),
        args.out.display()
    ));
    let mut bar = Progress::new("merging", total);
    copy(stores, &mut merger, &stop, &mut bar)?;
    bar.finish();
    merger.add_warnings(&warnings)?;
    merger.add_warnings(&log::warnings())?;
    let hash = merger.finish()?;
    log::info(format_args!(
        "{}: complete, content hash {hash}",
        args.out.display()
    ));
    Ok(())
}

/// Copies the splits one after the other, each from all shards in turn. A shard is read once, from its
/// start to its end, on a thread of its own.
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

/// Hands over all rows of a shard, or the error that ends them, for as long as they are taken.
fn read(shard: &Store, batches: &SyncSender<Result<Batch>>) {
    let send = |batch: Option<Batch>| {
        let nobody = |_| Error::Interrupted("nobody takes the images".into());
        batch.map_or(Ok(()), |batch| batches.send(Ok(batch)).map_err(nobody))
    };
    let mut batch: Option<Batch> = None;
    let all = shard.for_each_of(&Split::ALL, |image, samples| {
        let split = image.split;
        let full = |batch: &mut Batch| batch.split != split || batch.images.len() == AT_ONCE;
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
        // Whoever takes no more knows why.
        let _ = batches.send(Err(error));
    }
}

/// Rows of one split that go into the store together.
struct Batch {
    split: Split,
    images: Vec<ImageRow>,
    samples: Vec<SampleRow>,
}
