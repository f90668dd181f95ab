//! Reading a store: opening it with every claim of its tables checked, and its rows.

use std::path::Path;

use rusqlite::Connection;

use super::{
    file::StoreFile,
    hash,
    header::FileState,
    in_memory::InMemorySplit,
    meta::Meta,
    rows::{AttackRow, ImageRow, ModelRow, SampleRow, sha256},
    scan::Scan,
    schema,
    spec::BuildSpec,
    summary::{self, SummaryRow},
};
use base::{Error, Result, log};
use data::Split;

/// An open store.
#[derive(Debug)]
pub struct Store {
    pub(super) conn: Connection,
    pub(super) file: StoreFile,
    meta: Meta,
}

impl Store {
    /// Opens a complete store for reading; one that is only a shard is a warning.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] for anything but a complete, intact store of this schema
    /// version.
    pub fn open(path: &Path) -> Result<Self> {
        let store = Self::open_part(path)?;
        if let Some(partial) = store.meta.partial() {
            log::warning(format_args!("{}: {partial}", path.display()));
        }
        Ok(store)
    }

    /// Opens a complete store or a complete shard for reading.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_part(path: &Path) -> Result<Self> {
        let store = Self::open_any(path)?;
        store.check_complete()?;
        Ok(store)
    }

    /// Opens a store for reading, one whose build is under way or was stopped too.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] for anything but an intact store of this schema version.
    pub fn open_any(path: &Path) -> Result<Self> {
        let file = StoreFile::canonical(path)?;
        let check = || match file.inspect()? {
            FileState::Store => Ok(()),
            FileState::Missing => Err(Error::io("open", path)(std::io::ErrorKind::NotFound.into())),
            FileState::Unwritten => Err(Error::invalid(
                path.display(),
                "nothing in it yet: a build was stopped before its first write; run it again",
            )),
        };
        check()?;
        let conn = file.open_read_only()?;
        // Again, for a rollback may have changed the first page.
        check()?;
        Self::checked(conn, file)
    }

    /// Checks everything but images and samples on an open connection.
    pub(super) fn checked(conn: Connection, file: StoreFile) -> Result<Self> {
        let version = conn
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(file.map_sqlite_error())?;
        schema::check_version(&file, version)?;
        schema::check(&conn, &file)?;
        let meta = Meta::read(&conn, &file)?;
        let store = Self { conn, file, meta };
        store.check_content_hash()?;
        Ok(store)
    }

    /// What the store is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The attacks in the order of their ids.
    pub fn attacks(&self) -> &[AttackRow] {
        &self.meta.spec.attacks
    }

    /// The surrogate with its weights, whose hash is checked.
    ///
    /// # Errors
    /// [`Error::Data`] when the weights have another hash.
    pub fn model(&self) -> Result<ModelRow> {
        let sql = "SELECT weights FROM model WHERE id = ?";
        let mut model = self.meta.spec.model.clone();
        model.weights = self
            .conn
            .query_row(sql, [model.id], |row| row.get(0))
            .map_err(self.file.map_sqlite_error())?;
        let found = sha256(&model.weights);
        if found != model.sha256 {
            let what = format!("model {}, sha256 of its weights", model.id);
            return Err(Error::data(self.file.part(what), found, model.sha256));
        }
        Ok(model)
    }

    /// What the build of this store was asked for, the surrogate's weights included.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub fn spec(&self) -> Result<BuildSpec> {
        Ok(BuildSpec {
            model: self.model()?,
            ..self.meta.spec.clone()
        })
    }

    /// How strong each attack is in each split, over the rows in the file.
    ///
    /// # Errors
    /// [`Error::Data`] for a damaged file.
    pub fn summary(&self) -> Result<Vec<SummaryRow>> {
        summary::read(&self.conn).map_err(self.file.map_sqlite_error())
    }

    /// Images in the file of each of train, val and test, and how many of them the surrogate
    /// classifies correctly.
    ///
    /// # Errors
    /// [`Error::Data`] for a damaged file.
    pub fn counts(&self) -> Result<[(u64, u64); 3]> {
        let sql = "SELECT count(*), total(clean_pred = label) FROM image WHERE split = ?";
        let mut counts = [(0, 0); 3];
        for split in Split::ALL {
            counts[split as usize] = self
                .conn
                .query_row(sql, [split.name()], |row| {
                    Ok((row.get(0)?, row.get::<_, f64>(1)? as u64))
                })
                .map_err(self.file.map_sqlite_error())?;
        }
        Ok(counts)
    }

    /// Gives `each` every image of `split` with its samples, images and samples in the order of ids.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] with table and id of the first bad row; in a complete store
    /// also for a missing row, and after the last row when the split's hash is not the stored one. Errors of
    /// `each` are passed on.
    pub fn for_each(
        &self,
        split: Split,
        each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<()> {
        self.for_each_of(&[split], each)
    }

    /// The same of several splits, in one pass over the file.
    ///
    /// # Errors
    /// As [`Self::for_each`].
    pub fn for_each_of(
        &self,
        splits: &[Split],
        each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<()> {
        Scan::of(self, splits).run_checked(each)
    }

    /// Reads the whole of `split` into memory, each byte checked.
    ///
    /// # Errors
    /// As [`Self::for_each`]; an unfinished store is refused.
    pub fn load(&self, split: Split) -> Result<InMemorySplit> {
        InMemorySplit::read(self, split)
    }

    /// Refuses an unfinished store.
    pub(super) fn check_complete(&self) -> Result<()> {
        if self.meta.complete {
            return Ok(());
        }
        let present: u64 = self.counts()?.iter().map(|(images, _)| images).sum();
        let total = self.meta.spec.image_count();
        Err(Error::data(
            &self.file,
            format!("an unfinished build ({present} of {total} images)"),
            "a finished one (run the same build again to resume it)",
        ))
    }

    /// Refuses another number of images than the split has.
    pub(super) fn check_image_count(&self, split: Split, found: u64) -> Result<()> {
        let expected = self.meta.images_of(split);
        if found == expected {
            return Ok(());
        }
        let what = self.file.part(format_args!("images in {split}"));
        Err(Error::data(what, found, expected))
    }

    /// Fails with the first attack that `image` has no sample of.
    pub(super) fn check_has_all_samples(
        &self,
        image: &ImageRow,
        samples: &[SampleRow],
    ) -> Result<()> {
        // Both are in order, and every sample is of one of the attacks.
        let mut present = samples.iter().map(|sample| sample.attack_id);
        let mut attacks = self.attacks().iter();
        match attacks.find(|attack| present.next() != Some(attack.id)) {
            None => Ok(()),
            Some(attack) => Err(Error::invalid(
                self.file.part(format_args!("image {}", image.id)),
                format!("no sample of {}", attack.name),
            )),
        }
    }

    /// Reads again what a write has changed.
    pub(super) fn refresh(&mut self) -> Result<()> {
        self.meta = Meta::read(&self.conn, &self.file)?;
        Ok(())
    }

    /// Of a complete store: compares the content hash with the tables `meta`, `model` and `attack`.
    /// The rows are compared with the splits' hashes when they are read.
    fn check_content_hash(&self) -> Result<()> {
        let [Some(train), Some(val), Some(test)] = &self.meta.split_hashes else {
            return Ok(());
        };
        let found = hash::content(&self.meta.spec, [train, val, test]);
        match &self.meta.content_hash {
            Some(expected) if *expected != found => {
                Err(Error::data(self.file.part("content hash"), found, expected))
            }
            _ => Ok(()),
        }
    }
}
