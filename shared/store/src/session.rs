//! A write session: a store that is locked and open for writing, which building, merging and unpacking share.

use std::{collections::BTreeSet, path::Path};

use rusqlite::Transaction;

use super::{
    file::StoreFile,
    hash::{self, SplitDigest},
    header::FileState,
    insert::{create, insert_rows},
    meta::{hash_key, json},
    reader::Store,
    rows::{ImageRow, SampleRow},
    scan::Scan,
    spec::BuildSpec,
};
use base::{Error, Result, lock::Lock};
use data::Split;

/// A store open for writing. Schema and specification are written in one transaction, each batch of rows in
/// another, and the hashes in the last one: whatever stops a build, it leaves a valid store.
#[derive(Debug)]
pub(super) struct WriteSession {
    // In this order, so that the connection is closed before the lock is given up.
    store: Store,
    _lock: Lock,
}

impl WriteSession {
    /// As [`super::Writer::create_or_resume`].
    pub(super) fn create_or_resume(path: &Path, spec: &BuildSpec, device: &str) -> Result<Self> {
        spec.check()?;
        let file = StoreFile::canonical(path)?;
        let lock = Lock::beside(file.path())?;
        // Before SQLite may touch the file.
        file.inspect()?;
        let mut conn = file.open_read_write()?;
        // Again, for a rollback may have changed the first page.
        if file.inspect()? != FileState::Store {
            create(&mut conn, spec, device).map_err(file.map_sqlite_error())?;
        }
        let store = Store::checked(conn, file)?;
        spec.check_same(&store.meta().spec, &StoreFile::as_given(path))?;
        let mut session = Self { store, _lock: lock };
        session.add_device(device)?;
        Ok(session)
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn is_complete(&self) -> bool {
        self.store.meta().complete
    }

    /// Images that are in the file, of all splits.
    pub(super) fn images_present(&self) -> Result<u64> {
        let counts = self.store.counts()?;
        Ok(counts.iter().map(|(images, _)| images).sum())
    }

    /// Inserts rows in one transaction: all or none of them.
    pub(super) fn insert(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        self.check_rows(images, samples)?;
        self.transact(|transaction| insert_rows(transaction, images, samples, 1))
    }

    /// Refuses rows for a complete store, and labels and predictions that are none of its classes.
    pub(super) fn check_rows(&self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        if self.is_complete() {
            let file = &self.store.file;
            return Err(Error::Usage(format!("{file}: it is complete already")));
        }
        let of_images = images
            .iter()
            .map(|row| (row.id, row.label.max(row.clean_pred)));
        let of_samples = samples
            .iter()
            .map(|row| (row.image_id, row.pred.max(row.pred_float)));
        for (id, class) in of_images.chain(of_samples) {
            let place = || self.store.file.part(format_args!("image {id}"));
            self.store.meta().check_class(class, place)?;
        }
        Ok(())
    }

    /// Checks that every image has a sample of every attack, marks the store as complete and returns its
    /// content hash. `digests` are those of all its rows if they are known; otherwise the rows are read.
    pub(super) fn finish(&mut self, digests: Option<[SplitDigest; 3]>) -> Result<String> {
        let store = &self.store;
        if let (true, Some(hash)) = (store.meta().complete, &store.meta().content_hash) {
            return Ok(hash.clone());
        }
        let digests = match digests {
            Some(digests) => digests,
            None => Scan::of(store, &Split::ALL)
                .run(|image, samples| store.check_has_all_samples(&image, &samples))?,
        };
        for split in Split::ALL {
            store.check_image_count(split, digests[split as usize].images)?;
        }
        // For the check of the weights against their hash.
        store.model()?;
        let [train, val, test] = &digests;
        let hashes = [&*train.hash, &*val.hash, &*test.hash];
        let content = hash::content(&store.meta().spec, hashes);
        let mut values = vec![
            ("complete".to_string(), "1".to_string()),
            ("content_hash".into(), content.clone()),
        ];
        values.extend(std::iter::zip(
            Split::ALL.map(hash_key),
            hashes.map(String::from),
        ));
        self.set_meta(&values)?;
        Ok(content)
    }

    /// Adds to the warnings in the store; those that are there stay.
    pub(super) fn add_warnings(&mut self, warnings: &[String]) -> Result<()> {
        let mut all = self.store.meta().warnings.clone();
        all.extend(warnings.iter().cloned());
        let mut seen = BTreeSet::new();
        all.retain(|warning| seen.insert(warning.clone()));
        if all == self.store.meta().warnings {
            return Ok(());
        }
        self.set_meta(&[("warnings".into(), json(&all))])
    }

    /// A build that is resumed elsewhere has more than one device.
    fn add_device(&mut self, device: &str) -> Result<()> {
        let meta = self.store.meta();
        if meta.complete || meta.device.split("; ").any(|known| known == device) {
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

    /// Does all of `work` or nothing.
    fn transact(&mut self, work: impl FnOnce(&Transaction) -> rusqlite::Result<()>) -> Result<()> {
        let Store { conn, file, .. } = &mut self.store;
        let run = || {
            let transaction = conn.transaction()?;
            work(&transaction)?;
            transaction.commit()
        };
        run().map_err(file.map_sqlite_error())
    }
}
