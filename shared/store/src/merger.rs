//! Bulk merge of stores: rows that a reader has checked, in the order of ids, in large transactions, with the
//! content hash computed on the way.

use std::path::Path;

use super::{
    early_sync::EarlySync,
    incremental_hash::IncrementalHash,
    insert::{MAX_SAMPLES_PER_STATEMENT, insert_rows},
    reader::Store,
    rows::{ImageRow, SampleRow},
    scan::Scan,
    session::WriteSession,
    spec::BuildSpec,
};
use base::{Error, Result};
use data::Split;

/// Images of a transaction: many, for the disk stands still where one ends.
const COMMIT_AFTER: usize = 20_480;

/// Foreign keys and check constraints are off, since the reader of the shards has checked every row. Uniqueness is
/// still enforced: SQLite refuses a row that comes twice.
const SKIP_CHECKS: &str = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON";

/// A store that is being merged from others; no other program can write to its file meanwhile.
///
/// A merge that was stopped is resumed: rows that are in the file already must be the same.
#[derive(Debug)]
pub struct Merger {
    // In this order, so that the connection is closed first: see [`EarlySync`].
    session: WriteSession,
    _early_sync: EarlySync,
    /// Of all rows in the file; `None` once there are rows that did not come in order.
    hash: Option<IncrementalHash>,
    /// Images since the last commit.
    uncommitted: usize,
}

impl Merger {
    /// As [`super::Writer::create_or_resume`].
    ///
    /// # Errors
    /// As there.
    pub fn create_or_resume(path: &Path, spec: &BuildSpec, device: &str) -> Result<Self> {
        let session = WriteSession::create_or_resume(path, spec, device)?;
        let is_empty = session.images_present()? == 0;
        let store = session.store();
        let merger = Self {
            _early_sync: EarlySync::start(store.file.path())?,
            hash: is_empty.then(|| IncrementalHash::new(store.attacks())),
            uncommitted: 0,
            session,
        };
        merger.execute(SKIP_CHECKS)?;
        Ok(merger)
    }

    /// The store as it stands, for reading.
    pub fn store(&self) -> &Store {
        self.session.store()
    }

    /// Whether [`Self::finish`] has succeeded.
    pub fn is_complete(&self) -> bool {
        self.session.is_complete()
    }

    /// Adds images, ascending by id, and their samples in the order of images and attacks. The rows come
    /// from a [`Store`], so they have been checked. They may stay uncommitted until [`Self::commit`].
    ///
    /// # Errors
    /// As [`super::Writer::insert_images`], and with the first image whose rows in the file differ; nothing
    /// is added since the last commit then.
    pub fn merge_rows(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        self.session.check_rows(images, samples)?;
        if self.store().conn.is_autocommit() {
            self.execute("BEGIN")?;
        }
        if let Err(error) = self.add_missing(images, samples) {
            self.hash = None;
            // Fails where SQLite has rolled back by itself.
            let _ = self.execute("ROLLBACK");
            self.uncommitted = 0;
            return Err(error);
        }
        self.uncommitted += images.len();
        if self.uncommitted < COMMIT_AFTER {
            Ok(())
        } else {
            self.commit()
        }
    }

    /// Commits the rows of [`Self::merge_rows`].
    ///
    /// # Errors
    /// A full disk is an [`Error::Sqlite`] that tells how to resume.
    pub fn commit(&mut self) -> Result<()> {
        self.uncommitted = 0;
        if self.store().conn.is_autocommit() {
            return Ok(());
        }
        self.execute("COMMIT").inspect_err(|_| self.hash = None)
    }

    /// Adds to the warnings in the store, after a commit; those that are there stay.
    pub fn add_warnings(&mut self, warnings: &[String]) -> Result<()> {
        self.commit()?;
        self.session.add_warnings(warnings)
    }

    /// As [`super::Writer::finish`], after a commit.
    ///
    /// # Errors
    /// As there.
    pub fn finish(mut self) -> Result<String> {
        self.commit()?;
        let digests = self.hash.take().map(IncrementalHash::digests);
        self.session.finish(digests)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        let Store { conn, file, .. } = self.store();
        conn.execute_batch(sql).map_err(file.map_sqlite_error())
    }

    fn add_missing(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        let present = self.check_same(images, samples)?;
        let hash = self.hash.take();
        if present.is_empty() {
            let add_to_hash = || hash.and_then(|hash| hash.add(images, samples));
            let (inserted, hash) = rayon::join(|| self.insert(images, samples), add_to_hash);
            self.hash = hash;
            return inserted;
        }
        let is_missing = |id: u64| present.binary_search(&id).is_err();
        let images = images.iter().filter(|image| is_missing(image.id));
        let samples = samples.iter().filter(|sample| is_missing(sample.image_id));
        let (images, samples): (Vec<_>, Vec<_>) =
            (images.cloned().collect(), samples.cloned().collect());
        self.insert(&images, &samples)
    }

    fn insert(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        let Store { conn, file, .. } = self.store();
        insert_rows(conn, images, samples, MAX_SAMPLES_PER_STATEMENT)
            .map_err(file.map_sqlite_error())
    }

    /// Ids of those of `images` that are in the file already, with the same rows.
    fn check_same(&self, images: &[ImageRow], samples: &[SampleRow]) -> Result<Vec<u64>> {
        let mut present = Vec::new();
        let (Some(first), Some(last)) = (images.first(), images.last()) else {
            return Ok(present);
        };
        let scan = Scan::of(self.store(), &Split::ALL).with_ids(first.id..=last.id);
        scan.run(|image, own| {
            let id = image.id;
            let given = images.binary_search_by_key(&id, |image| image.id);
            let start = samples.partition_point(|sample| sample.image_id < id);
            let end = samples.partition_point(|sample| sample.image_id <= id);
            if given.is_ok_and(|given| images[given] == image) && samples[start..end] == own {
                present.push(id);
                return Ok(());
            }
            Err(Error::invalid(
                self.store().file.part(format_args!("image {id}")),
                "its rows in the file differ from those to be merged (--force begins anew)",
            ))
        })?;
        Ok(present)
    }
}
