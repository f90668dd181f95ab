//! Scan over images with their samples, in the order of ids: the one way to read rows.
//!
//! It checks types, lengths, ranges, order and the CRC of every row, and at the end of a split of a complete
//! store its hash, so that no changed byte passes.

use std::ops::RangeInclusive;

use super::{
    hash::{SplitDigest, SplitHashes},
    reader::Store,
    row_decoder::RowDecoder,
    rows::{ImageRow, SampleRow},
};
use base::{Error, Result};
use data::Split;

/// A scan that has not begun.
pub(super) struct Scan<'a> {
    store: &'a Store,
    splits: &'a [Split],
    ids: RangeInclusive<i64>,
}

impl<'a> Scan<'a> {
    /// Of all images of these splits.
    pub(super) fn of(store: &'a Store, splits: &'a [Split]) -> Self {
        Self {
            store,
            splits,
            ids: i64::MIN..=i64::MAX,
        }
    }

    /// Only of images with these ids.
    pub(super) fn with_ids(mut self, ids: RangeInclusive<u64>) -> Self {
        let signed = |id: &u64| i64::try_from(*id).unwrap_or(i64::MAX);
        self.ids = signed(ids.start())..=signed(ids.end());
        self
    }

    /// Gives `each` every image with its samples in the order of attacks; returns the digests of train, val
    /// and test, which are those of no images for a split that was not scanned.
    ///
    /// # Errors
    /// [`Error::Data`] and [`Error::Invalid`] with table and id of the first bad row. Errors of `each` are
    /// passed on.
    pub(super) fn run(
        self,
        mut each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<[SplitDigest; 3]> {
        let Store { conn, file, .. } = self.store;
        let decoder = RowDecoder::new(self.store);
        // Splits are selected here and not by SQL, so that the order of all ids is checked: a
        // damaged B-tree may contain a cycle.
        let mut images = conn
            .prepare(
                "SELECT id, split, source_index, label, pixels, crc32, clean_pred \
                 FROM image WHERE id BETWEEN ? AND ? ORDER BY id",
            )
            .map_err(file.map_sqlite_error())?;
        let mut samples = conn
            .prepare(
                "SELECT image_id, attack_id, pixels, crc32, pred, pred_float, l2, linf, steps \
                 FROM sample WHERE image_id = ? ORDER BY attack_id",
            )
            .map_err(file.map_sqlite_error())?;
        let mut hashes = SplitHashes::new();
        let mut last_id = None;
        let mut rows = images
            .query([self.ids.start(), self.ids.end()])
            .map_err(file.map_sqlite_error())?;
        while let Some(row) = rows.next().map_err(file.map_sqlite_error())? {
            let (id, split) = decoder.id_and_split(row)?;
            if last_id.is_some_and(|last| last >= id) {
                let what = file.part(format_args!("image {id}"));
                return Err(Error::invalid(what, "out of order, after a greater id"));
            }
            last_id = Some(id);
            if self.splits.contains(&split) {
                let image = decoder.image(row, id, split)?;
                let samples = decoder.samples(&mut samples, id)?;
                hashes.add(&image, &samples);
                each(image, samples)?;
            }
        }
        Ok(hashes.digests())
    }

    /// As [`Self::run`]; of a complete store, a missing row and another hash than the stored one are errors
    /// too, the hash after the last row.
    pub(super) fn run_checked(
        self,
        mut each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<()> {
        let (store, splits) = (self.store, self.splits);
        if !store.meta().complete {
            return self.run(each).map(drop);
        }
        let digests = self.run(|image, samples| {
            store.check_has_all_samples(&image, &samples)?;
            each(image, samples)
        })?;
        for &split in splits {
            let SplitDigest { images, hash } = &digests[split as usize];
            store.check_image_count(split, *images)?;
            let expected = store.meta().split_hash(split);
            if expected != Some(hash) {
                let what = store.file.part(format_args!("hash of {split}"));
                return Err(Error::data(what, hash, expected.unwrap_or("one")));
            }
        }
        Ok(())
    }
}
