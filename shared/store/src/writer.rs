//! Writing: an identity and rows come in, a store that can be left at any moment goes out.
//!
//! The schema and the identity are written in one transaction, each batch of rows in another, and
//! the hashes in the last one. So whatever stops a build, what it leaves is a valid store, and the
//! same command goes on from there.

use std::{ops::Range, path::Path};

use rusqlite::{Transaction, params};

use super::{
    fault::fault,
    hash,
    header::{self, Header},
    insert::{create, insert_rows},
    meta::{BuildSpec, json},
    open,
    reader::Store,
    rows::{ImageRow, SPLITS, SampleRow, split_name},
    running::Running,
    write_back::WriteBack,
};
use base::{Error, Result, lock::Lock};

/// A store that is being built; nobody else can build on the same file meanwhile.
#[derive(Debug)]
pub struct Writer {
    pub(super) store: Store,
    /// Of all rows there are, while they come in order from another store, which has checked them.
    pub(super) running: Option<Running>,
    /// Images of [`Self::insert_missing`] since the last commit.
    pub(super) uncommitted: usize,
    // These last, so that the connection is closed before them.
    pub(super) write_back: Option<WriteBack>,
    _lock: Lock,
}

impl Writer {
    /// Creates the store of `identity` at `path`, or goes on with it where it is already there;
    /// `device` says in words where the attacks run.
    ///
    /// # Errors
    /// [`Error::Usage`] when the file is a store of another identity (both values are named) or
    /// another build is writing to it; [`Error::Data`] when it is no store, or a damaged one. Such
    /// a file is left as it is.
    pub fn create_or_resume(path: &Path, identity: &BuildSpec, device: &str) -> Result<Self> {
        identity.check()?;
        let file = open::real(path)?;
        let lock = Lock::beside(&file)?;
        // Before SQLite may touch it.
        header::look(&file)?;
        let mut conn = open::read_write(&file)?;
        // Again, for a rollback may have taken the first page back.
        if header::look(&file)? != Header::Store {
            create(&mut conn, identity, device).map_err(fault(&file))?;
        }
        let store = Store::checked(conn, file)?;
        identity.check_same(&store.identity_without_weights()?, path)?;
        let mut writer = Self {
            store,
            running: None,
            uncommitted: 0,
            write_back: None,
            _lock: lock,
        };
        if writer.images_present()? == 0 {
            writer.running = Some(Running::new(writer.store.attacks()));
        }
        writer.note_device(device)?;
        Ok(writer)
    }

    /// Removes the store at `path` with its journal, for building anew; nothing there is fine.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is no store; [`Error::Usage`] while a build is writing to it.
    pub fn remove(path: &Path) -> Result<()> {
        let file = open::real(path)?;
        let _lock = Lock::beside(&file)?;
        header::check_removable(&file)?;
        // The store first: SQLite ignores a journal without a database, but would miss the journal
        // of a half-written one.
        for file in [&file, &header::journal(&file)] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The store as it stands, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether [`Self::finish`] has been through.
    pub fn is_complete(&self) -> bool {
        self.store.meta().complete
    }

    /// How many images are there, of all splits.
    pub fn images_present(&self) -> Result<u64> {
        let counts = self.store.counts()?;
        Ok(counts.iter().map(|(images, _)| images).sum())
    }

    /// Those of `ids` that there is no image of, ascending.
    pub fn missing_images(&self, ids: Range<u64>) -> Result<Vec<u64>> {
        let sql = "SELECT id FROM image WHERE ?1 <= id AND id < ?2 ORDER BY id";
        self.absent(sql, None, ids)
    }

    /// Those of `ids` that there is no sample of this attack for, ascending.
    pub fn missing(&self, attack_id: i64, ids: Range<u64>) -> Result<Vec<u64>> {
        let sql = "SELECT image_id FROM sample \
                   WHERE ?1 <= image_id AND image_id < ?2 AND attack_id = ?3 ORDER BY image_id";
        self.absent(sql, Some(attack_id), ids)
    }

    /// Adds images in one transaction.
    ///
    /// # Errors
    /// [`Error::Data`] when a row is there already or breaks a constraint; nothing is added then.
    /// A full disk is an [`Error::Sqlite`] that says how to go on.
    pub fn insert_images(&mut self, images: &[ImageRow]) -> Result<()> {
        self.insert(images, &[])
    }

    /// Adds samples in one transaction, after their images.
    ///
    /// # Errors
    /// As [`Self::insert_images`].
    pub fn insert_samples(&mut self, samples: &[SampleRow]) -> Result<()> {
        self.insert(&[], samples)
    }

    /// Checks that every image has a sample of every attack, marks the store as complete and
    /// returns its content hash. A complete store only says its hash again.
    ///
    /// # Errors
    /// [`Error::Data`] with the first missing or damaged row.
    pub fn finish(&mut self) -> Result<String> {
        if let (true, Some(hash)) = (self.is_complete(), &self.store.meta().content_hash) {
            return Ok(hash.clone());
        }
        self.commit()?;
        let scan = || {
            let store = &self.store;
            store.scan(&SPLITS, |image, samples| {
                store.check_all_there(&image, &samples)
            })
        };
        let scanned = match self.running.take() {
            Some(running) => running.hex(),
            None => scan()?,
        };
        for split in SPLITS {
            let images = scanned[split as usize].0;
            let expected = self.store.meta().images_of(split);
            if images != expected {
                let what = self.store.part(format!("images in {}", split_name(split)));
                return Err(Error::data(what, images, expected));
            }
        }
        let splits = scanned.map(|(_, hash)| hash);
        let [train, val, test] = &splits;
        // With its weights, so that their hash is checked once more.
        let model = self.store.model()?;
        let (meta, attacks) = (self.store.meta(), self.store.attacks());
        let content = hash::content(meta, &model, attacks, [train, val, test]);
        let mut values = vec![
            ("complete".to_string(), "1".to_string()),
            ("content_hash".into(), content.clone()),
        ];
        for split in SPLITS {
            let key = format!("hash_{}", split_name(split));
            values.push((key, splits[split as usize].clone()));
        }
        self.set_meta(&values)?;
        Ok(content)
    }

    /// A build that goes on elsewhere has more than one device.
    fn note_device(&mut self, device: &str) -> Result<()> {
        let meta = self.store.meta();
        if meta.complete || meta.device.split("; ").any(|noted| noted == device) {
            return Ok(());
        }
        let devices = format!("{}; {device}", meta.device);
        self.set_meta(&[("device".into(), devices)])
    }

    fn set_meta(&mut self, values: &[(String, String)]) -> Result<()> {
        self.transact(|transaction| {
            let mut update =
                transaction.prepare_cached("UPDATE meta SET value = ?2 WHERE key = ?1")?;
            values
                .iter()
                .try_for_each(|(key, value)| update.execute([key, value]).map(drop))
        })?;
        self.store.refresh()
    }

    pub(super) fn insert(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        self.check_unfinished()?;
        self.check_classes(images, samples)?;
        self.running = None;
        self.transact(|transaction| insert_rows(transaction, images, samples, 1))
    }

    /// Refuses a label or a prediction that is none of the store's classes.
    fn check_classes(&self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        let classes = self.store.meta().classes.len();
        let of_images = images
            .iter()
            .map(|row| (row.id, row.label.max(row.clean_pred)));
        let of_samples = samples
            .iter()
            .map(|row| (row.image_id, row.pred.max(row.pred_float)));
        match of_images
            .chain(of_samples)
            .find(|(_, class)| usize::from(*class) >= classes)
        {
            None => Ok(()),
            Some((id, class)) => {
                let what = self.store.part(format!("image {id}"));
                let expected = format!("0 to {}", classes.saturating_sub(1));
                Err(Error::data(what, format!("class {class}"), expected))
            }
        }
    }

    /// Adds to the warnings that the store keeps; those that are there stay.
    pub fn note_warnings(&mut self, warnings: &[String]) -> Result<()> {
        let mut all = self.store.meta().warnings.clone();
        all.extend(warnings.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|warning| seen.insert(warning.clone()));
        if all == self.store.meta().warnings {
            return Ok(());
        }
        self.set_meta(&[("warnings".into(), json(&all))])
    }

    pub(super) fn check_unfinished(&self) -> Result<()> {
        match self.is_complete() {
            false => Ok(()),
            true => Err(Error::Usage(format!(
                "{}: it is complete already",
                self.store.path.display()
            ))),
        }
    }

    /// Does all of `work` or nothing.
    fn transact(&mut self, work: impl FnOnce(&Transaction) -> rusqlite::Result<()>) -> Result<()> {
        let Store { conn, path, .. } = &mut self.store;
        let run = || {
            let transaction = conn.transaction()?;
            work(&transaction)?;
            transaction.commit()
        };
        run().map_err(fault(path))
    }

    /// Those of `ids` that `sql` does not list, given the range and perhaps an attack.
    fn absent(&self, sql: &str, attack: Option<i64>, ids: Range<u64>) -> Result<Vec<u64>> {
        let clamp = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
        let (start, end) = (clamp(ids.start), clamp(ids.end));
        let list = || -> rusqlite::Result<Vec<u64>> {
            let mut query = self.store.conn.prepare_cached(sql)?;
            let read = |row: &rusqlite::Row| row.get(0);
            match attack {
                None => query.query_map(params![start, end], read)?.collect(),
                Some(attack) => query
                    .query_map(params![start, end, attack], read)?
                    .collect(),
            }
        };
        let there = list().map_err(fault(&self.store.path))?;
        let mut there = there.into_iter().peekable();
        Ok(ids.filter(|id| there.next_if_eq(id).is_none()).collect())
    }
}
