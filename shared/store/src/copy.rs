//! Copying: rows of another store come in, in the order of ids, and go into this one; those that are there
//! already must be the same.

use super::{
    fault::fault,
    insert::insert_rows,
    rows::{ImageRow, SPLITS, SampleRow},
    write_back::WriteBack,
    writer::Writer,
};
use base::{Error, Result};

/// Images that [`Writer::insert_missing`] commits together.
const COMMIT_AFTER: usize = 20_480;

/// Samples that go in by one statement: those of an image.
const SAMPLES: usize = 6;

/// What a reader of stores has checked, SQLite need not check in each row again. That no row comes twice
/// it still does.
const TRUST: &str = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON";

impl Writer {
    /// Adds images, ascending by id, each followed by its samples in the order of attacks; what is
    /// there already must be the same. The rows come from a [`super::Store`], so they have been
    /// checked. Each transaction takes several calls, for the disk stands still where one ends; the
    /// last one is for [`Self::commit`] to end.
    ///
    /// # Errors
    /// As [`Self::insert_images`], and with the first image that is there otherwise; nothing is added
    /// since the last commit then.
    pub fn insert_missing(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        if self.write_back.is_none() {
            self.execute(TRUST)?;
            self.write_back = Some(WriteBack::begin(&self.store.path)?);
        }
        if self.store.conn.is_autocommit() {
            self.execute("BEGIN")?;
        }
        let added = self.add_missing(images, samples);
        if added.is_err() {
            self.running = None;
            // Fails where SQLite has rolled back by itself.
            let _ = self.execute("ROLLBACK");
            self.uncommitted = 0;
            return added;
        }
        self.uncommitted += images.len();
        match self.uncommitted < COMMIT_AFTER {
            true => Ok(()),
            false => self.commit(),
        }
    }

    /// Ends the transaction of [`Self::insert_missing`], if there is one.
    ///
    /// # Errors
    /// A full disk is an [`Error::Sqlite`] that says how to go on.
    pub fn commit(&mut self) -> Result<()> {
        self.uncommitted = 0;
        match self.store.conn.is_autocommit() {
            true => Ok(()),
            false => self.execute("COMMIT").inspect_err(|_| self.running = None),
        }
    }

    fn execute(&self, sql: &str) -> Result<()> {
        let executed = self.store.conn.execute_batch(sql);
        executed.map_err(fault(&self.store.path))
    }

    fn add_missing(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        let there = self.check_alike(images, samples)?;
        if there.is_empty() {
            let running = self.running.take();
            let hash = || running.and_then(|running| running.add(images, samples));
            let (inserted, running) = rayon::join(|| self.add(images, samples), hash);
            if inserted.is_ok() {
                self.running = running;
            }
            return inserted;
        }
        let is_missing = |id: u64| there.binary_search(&id).is_err();
        let images = images.iter().filter(|image| is_missing(image.id));
        let samples = samples.iter().filter(|sample| is_missing(sample.image_id));
        let (images, samples): (Vec<_>, Vec<_>) =
            (images.cloned().collect(), samples.cloned().collect());
        self.add(&images, &samples)
    }

    /// Those ids of `images` that are there already, with the same rows.
    fn check_alike(&self, images: &[ImageRow], samples: &[SampleRow]) -> Result<Vec<u64>> {
        let mut there = Vec::new();
        let (Some(first), Some(last)) = (images.first(), images.last()) else {
            return Ok(there);
        };
        let signed = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
        let ids = signed(first.id)..=signed(last.id);
        self.store.scan_ids(ids, &SPLITS, |image, own| {
            let id = image.id;
            let given = images.binary_search_by_key(&id, |image| image.id);
            let start = samples.partition_point(|sample| sample.image_id < id);
            let end = samples.partition_point(|sample| sample.image_id <= id);
            if given.is_ok_and(|given| images[given] == image) && samples[start..end] == own {
                there.push(id);
                return Ok(());
            }
            Err(Error::data(
                self.store.part(format!("image {id}")),
                "rows that are not those to be added",
                "the same ones (--force begins anew)",
            ))
        })?;
        Ok(there)
    }

    /// [`Self::insert`] in the transaction that there is.
    fn add(&mut self, images: &[ImageRow], samples: &[SampleRow]) -> Result<()> {
        self.check_unfinished()?;
        self.running = None;
        let inserted = insert_rows(&self.store.conn, images, samples, SAMPLES);
        inserted.map_err(fault(&self.store.path))
    }
}
