//! Merging: the shards of one build come in, the store that an undivided build would have made goes
//! out. A merge that was stopped goes on where it was when the same command is given again.

use std::{
    path::PathBuf,
    sync::mpsc::{self, SyncSender},
    thread,
};

use clap::Args;
use shared::{
    Error, Result,
    cifar10::Split,
    log,
    progress::Progress,
    signal::Stop,
    store::{ImageRow, SampleRow, Shard, Store, Writer, whole},
};

/// Pictures that are read and handed over together.
const AT_ONCE: usize = 512;

/// Such batches that are read while one is written.
const READ_AHEAD: usize = 2;

/// `generator merge`.
#[derive(Debug, Args)]
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
    let stores = args.shards.iter().map(|path| Store::open(path));
    let mut stores = stores.collect::<Result<Vec<Store>>>()?;
    let identities = std::iter::zip(&args.shards, &stores)
        .map(|(path, store)| Ok((path.as_path(), store.identity()?)))
        .collect::<Result<Vec<_>>>()?;
    let identity = whole(&identities)?;
    if args.shards.iter().any(|shard| same_file(shard, &args.out)) {
        let out = args.out.display();
        return Err(Error::Usage(format!("{out} is one of the shards")));
    }
    // In the order of ids: shards divide every split in the order of their numbers.
    stores.sort_by_key(|store| store.meta().shard.parse::<Shard>().ok());
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
        Writer::remove(&args.out)?;
    }
    let mut writer = Writer::create_or_resume(&args.out, &identity, &devices.join("; "))?;
    if writer.is_complete() {
        log::info(format_args!("{}: already complete", args.out.display()));
        return Ok(());
    }
    let total: u64 = identity.images.iter().sum();
    log::info(format_args!(
        "merging {} shards into {}: {total} pictures",
        stores.len(),
        args.out.display()
    ));
    let mut bar = Progress::new("merging", total);
    thread::scope(|scope| {
        let (sender, batches) = mpsc::sync_channel(READ_AHEAD);
        let reader = scope.spawn(move || read(&stores, &stop, &sender));
        for batch in batches {
            writer.insert_missing(&batch.images, &batch.samples)?;
            bar.add(batch.images.len() as u64, "");
        }
        writer.commit()?;
        match reader.join() {
            Ok(read) => read,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    bar.finish();
    let hash = writer.finish()?;
    log::info(format_args!(
        "{}: complete, content hash {hash}",
        args.out.display()
    ));
    Ok(())
}

/// Hands over all rows of the shards, until nobody takes them; when it is asked to stop, what it has
/// read so far.
fn read(stores: &[Store], stop: &Stop, sender: &SyncSender<Batch>) -> Result<()> {
    let mut batch = Batch::default();
    for split in Split::ALL {
        for store in stores {
            store.for_each(split, |image, samples| {
                batch.images.push(image);
                batch.samples.extend(samples);
                let stopped = stop.check("the same command goes on from here");
                if batch.images.len() == AT_ONCE || stopped.is_err() {
                    let batch = std::mem::take(&mut batch);
                    // Whoever takes no more says why.
                    let left = |_| Error::Interrupted("nobody takes the pictures".into());
                    sender.send(batch).map_err(left)?;
                }
                stopped
            })?;
        }
    }
    let _ = sender.send(batch);
    Ok(())
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Rows that go into the store together.
#[derive(Default)]
struct Batch {
    images: Vec<ImageRow>,
    samples: Vec<SampleRow>,
}
