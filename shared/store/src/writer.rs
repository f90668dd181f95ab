//! Resumable build of a store: rows in any order, one transaction per batch, nothing computed twice.

use std::{ops::Range, path::Path};

use rusqlite::params;

use super::{
    file::StoreFile,
    reader::Store,
    rows::{ImageRow, SampleRow},
    session::WriteSession,
    spec::BuildSpec,
};
use base::Result;

/// A store that is being built; no other program can write to its file meanwhile.
///
/// Whatever stops a build, what it leaves is a valid store, and the same command resumes it.
#[derive(Debug)]
pub struct Writer {
    session: WriteSession,
}

impl Writer {
    /// Creates the store of `spec` at `path`, or resumes it if it is there; `device` describes where the
    /// attacks run.
    ///
    /// # Errors
    /// [`base::Error::Usage`] when the file is a store of another specification (both values are named) or
    /// another build is writing to it; [`base::Error::Data`] when it is no store, or a damaged one. Such
    /// a file is left as it is.
    pub fn create_or_resume(path: &Path, spec: &BuildSpec, device: &str) -> Result<Self> {
        let session = WriteSession::create_or_resume(path, spec, device)?;
        Ok(Self { session })
    }

    /// Removes the store at `path` with its journal, for building anew; a missing one is fine.
    ///
    /// # Errors
    /// [`base::Error::Data`] when the file is no store; [`base::Error::Usage`] while a build is writing to it.
    pub fn remove(path: &Path) -> Result<()> {
        StoreFile::canonical(path)?.remove()
    }

    /// The store as it stands, for reading.
    pub fn store(&self) -> &Store {
        self.session.store()
    }

    /// Whether [`Self::finish`] has succeeded.
    pub fn is_complete(&self) -> bool {
        self.session.is_complete()
    }

    /// Images that are in the file, of all splits.
    pub fn images_present(&self) -> Result<u64> {
        self.session.images_present()
    }

    /// Those of `ids` that have no image, ascending.
    pub fn missing_images(&self, ids: Range<u64>) -> Result<Vec<u64>> {
        let sql = "SELECT id FROM image WHERE ?1 <= id AND id < ?2 ORDER BY id";
        self.missing_ids(sql, None, ids)
    }

    /// Those of `ids` that have no sample of this attack, ascending.
    pub fn missing_samples(&self, attack_id: i64, ids: Range<u64>) -> Result<Vec<u64>> {
        let sql = "SELECT image_id FROM sample \
                   WHERE ?1 <= image_id AND image_id < ?2 AND attack_id = ?3 ORDER BY image_id";
        self.missing_ids(sql, Some(attack_id), ids)
    }

    /// Adds images in one transaction.
    ///
    /// # Errors
    /// [`base::Error::Data`] when a row is there already or breaks a constraint; nothing is added then.
    /// A full disk is a [`base::Error::Sqlite`] that tells how to resume.
    pub fn insert_images(&mut self, images: &[ImageRow]) -> Result<()> {
        self.session.insert(images, &[])
    }

    /// Adds samples in one transaction, after their images.
    ///
    /// # Errors
    /// As [`Self::insert_images`].
    pub fn insert_samples(&mut self, samples: &[SampleRow]) -> Result<()> {
        self.session.insert(&[], samples)
    }

    /// Adds to the warnings in the store; those that are there stay.
    pub fn add_warnings(&mut self, warnings: &[String]) -> Result<()> {
        self.session.add_warnings(warnings)
    }

    /// Checks that every image has a sample of every attack, marks the store as complete and
    /// returns its content hash. Of a complete store it only returns the hash.
    ///
    /// # Errors
    /// [`base::Error::Data`] and [`base::Error::Invalid`] with the first missing or damaged row.
    pub fn finish(&mut self) -> Result<String> {
        self.session.finish(None)
    }

    /// Those of `ids` that `sql` does not select, given their range and perhaps an attack.
    fn missing_ids(&self, sql: &str, attack_id: Option<i64>, ids: Range<u64>) -> Result<Vec<u64>> {
        let store = self.session.store();
        let clamp = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
        let (start, end) = (clamp(ids.start), clamp(ids.end));
        let select = || -> rusqlite::Result<Vec<u64>> {
            let mut query = store.conn.prepare_cached(sql)?;
            let read = |row: &rusqlite::Row| row.get(0);
            match attack_id {
                None => query.query_map(params![start, end], read)?.collect(),
                Some(attack_id) => query
                    .query_map(params![start, end, attack_id], read)?
                    .collect(),
            }
        };
        let present = select().map_err(store.file.map_sqlite_error())?;
        let mut present = present.into_iter().peekable();
        Ok(ids.filter(|id| present.next_if_eq(id).is_none()).collect())
    }
}
