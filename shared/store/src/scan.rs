//! Reading images: a split comes in, each of its images with its samples goes out, in the order
//! of ids.
//!
//! This is the one way to read them. It checks types, lengths, ranges, order and the CRC of every
//! row, and at the end of a split of a complete store its hash, so that no changed byte passes.

use std::ops::RangeInclusive;

use rusqlite::{Row, types::FromSql};

use super::{
    fault::fault,
    hash::SplitHashes,
    pixels::Pixels,
    reader::Store,
    rows::{ImageRow, SPLITS, SampleRow, split_name},
};
use base::{Error, Result};
use data::{IMAGE_BYTES, Split};

impl Store {
    /// Hands over each image of `split` with its samples, images and samples in the order of ids.
    ///
    /// # Errors
    /// [`Error::Data`] with table and id of the first bad row; in a complete store also for a
    /// missing row, and after the last row when the split's hash is not the stored one. What
    /// `each` returns is passed on.
    pub fn for_each(
        &self,
        split: Split,
        each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<()> {
        self.for_each_of(&[split], each)
    }

    /// The same of several splits, in one pass over the file.
    pub fn for_each_of(
        &self,
        splits: &[Split],
        mut each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<()> {
        let complete = self.meta.complete;
        let found = self.scan(splits, |image, samples| {
            if complete {
                self.check_all_there(&image, &samples)?;
            }
            each(image, samples)
        })?;
        for &split in splits.iter().filter(|_| complete) {
            let (split_name, (images, hash)) = (split_name(split), &found[split as usize]);
            if *images != self.meta.images_of(split) {
                let what = self.part(format!("images in {split_name}"));
                return Err(Error::data(what, images, self.meta.images_of(split)));
            }
            let expected = self.meta.split_hash(split);
            if expected != Some(hash) {
                let what = self.part(format!("hash of {split_name}"));
                return Err(Error::data(what, hash, expected.unwrap_or("one")));
            }
        }
        Ok(())
    }

    /// Like [`Self::for_each_of`], without a claim to be complete; returns how many images each of
    /// train, val and test has, and its hash, if it was asked for.
    pub(super) fn scan(
        &self,
        splits: &[Split],
        each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<[(u64, String); 3]> {
        self.scan_ids(i64::MIN..=i64::MAX, splits, each)
    }

    /// The same of images with one of these ids.
    pub(super) fn scan_ids(
        &self,
        ids: RangeInclusive<i64>,
        splits: &[Split],
        mut each: impl FnMut(ImageRow, Vec<SampleRow>) -> Result<()>,
    ) -> Result<[(u64, String); 3]> {
        let bad = fault(&self.path);
        // Splits are told apart here and not by SQL, so that the order of all ids is seen: a
        // damaged tree may lead in a circle.
        let mut images = self.prepare(
            "SELECT id, split, source_index, label, pixels, crc32, clean_pred \
             FROM image WHERE id BETWEEN ? AND ? ORDER BY id",
        )?;
        let mut samples = self.prepare(
            "SELECT image_id, attack_id, pixels, crc32, pred, pred_float, l2, linf, steps \
             FROM sample WHERE image_id = ? ORDER BY attack_id",
        )?;
        let mut found = SplitHashes::new();
        let mut last = None;
        let mut rows = images.query([ids.start(), ids.end()]).map_err(&bad)?;
        while let Some(row) = rows.next().map_err(&bad)? {
            let (id, split) = self.place(row)?;
            if last.is_some_and(|last| last >= id) {
                let what = self.part(format!("image {id}"));
                return Err(Error::data(what, "it after a greater id", "order"));
            }
            last = Some(id);
            if splits.contains(&split) {
                let image = self.image(row, id, split)?;
                let samples = self.samples(&mut samples, id)?;
                found.add(&image, &samples);
                each(image, samples)?;
            }
        }
        Ok(found.hex())
    }

    /// Fails with the first attack that `image` has no sample of.
    pub(super) fn check_all_there(&self, image: &ImageRow, samples: &[SampleRow]) -> Result<()> {
        // Both are in order and the samples' attacks are among the attacks.
        let mut there = samples.iter().map(|sample| sample.attack_id);
        match self.attacks.iter().find(|a| there.next() != Some(a.id)) {
            None => Ok(()),
            Some(attack) => Err(Error::data(
                self.part(format!("image {}", image.id)),
                format!("no sample of {}", attack.name),
                "one of every attack",
            )),
        }
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::Statement<'_>> {
        self.conn.prepare(sql).map_err(fault(&self.path))
    }

    /// An image's id and split.
    fn place(&self, row: &Row) -> Result<(u64, Split)> {
        let id = self.value(row, 0)?;
        let name: String = self.value(row, 1)?;
        let split = SPLITS.into_iter().find(|split| split_name(*split) == name);
        let split = split.ok_or_else(|| {
            let found = format!("split '{}'", name.escape_debug());
            Error::data(
                self.part(format!("image {id}")),
                found,
                "train, val or test",
            )
        })?;
        Ok((id, split))
    }

    fn image(&self, row: &Row, id: u64, split: Split) -> Result<ImageRow> {
        let place = || self.part(format!("image {id}"));
        Ok(ImageRow {
            id,
            split,
            source_index: self.value(row, 2)?,
            label: self.class(row, 3, place)?,
            pixels: self.pixels(row, 4, place)?,
            clean_pred: self.class(row, 6, place)?,
        })
    }

    fn samples(&self, query: &mut rusqlite::Statement, image_id: u64) -> Result<Vec<SampleRow>> {
        let bad = fault(&self.path);
        let mut samples: Vec<SampleRow> = Vec::with_capacity(self.attacks.len());
        let mut rows = query.query([image_id]).map_err(&bad)?;
        while let Some(row) = rows.next().map_err(&bad)? {
            let sample = self.sample(row)?;
            let known = self.attacks.iter().any(|a| a.id == sample.attack_id);
            let ordered = samples
                .last()
                .is_none_or(|s| s.attack_id < sample.attack_id);
            if !known || !ordered || sample.image_id != image_id {
                let found = format!("sample ({}, {})", sample.image_id, sample.attack_id);
                let what = self.part(format!("samples of image {image_id}"));
                return Err(Error::data(what, found, "one of each attack, in order"));
            }
            samples.push(sample);
        }
        Ok(samples)
    }

    fn sample(&self, row: &Row) -> Result<SampleRow> {
        let (image_id, attack_id) = (self.value(row, 0)?, self.value(row, 1)?);
        let place = || self.part(format!("sample (image {image_id}, attack {attack_id})"));
        let sample = SampleRow {
            image_id,
            attack_id,
            pixels: self.pixels(row, 2, place)?,
            pred: self.class(row, 4, place)?,
            pred_float: self.class(row, 5, place)?,
            l2: self.value(row, 6)?,
            linf: self.value(row, 7)?,
            steps: self.value(row, 8)?,
        };
        // Written so that NaN fails too.
        if !(sample.l2 >= 0.0 && sample.l2.is_finite() && (0.0..=1.0).contains(&sample.linf)) {
            let found = format!("l2 {}, linf {}", sample.l2, sample.linf);
            return Err(Error::data(place(), found, "distances"));
        }
        Ok(sample)
    }

    fn value<T: FromSql>(&self, row: &Row, column: usize) -> Result<T> {
        row.get(column).map_err(fault(&self.path))
    }

    /// The class in `column`, one of those that have a name.
    fn class(&self, row: &Row, column: usize, place: impl Fn() -> String) -> Result<u8> {
        let (class, classes) = (self.value::<u8>(row, column)?, self.meta.classes.len());
        if usize::from(class) < classes {
            return Ok(class);
        }
        let expected = format!("0 to {}", classes.saturating_sub(1));
        Err(Error::data(place(), format!("class {class}"), expected))
    }

    /// The pixels in `column`, whose CRC stands in the next one.
    fn pixels(&self, row: &Row, column: usize, place: impl Fn() -> String) -> Result<Pixels> {
        let value = row.get_ref(column).map_err(fault(&self.path))?;
        let pixels = value
            .as_blob()
            .map_err(|_| Error::data(place(), value.data_type(), "pixels as a blob"))?;
        if pixels.len() != IMAGE_BYTES {
            let found = format!("{} bytes of pixels", pixels.len());
            return Err(Error::data(place(), found, IMAGE_BYTES));
        }
        let expected = self.value(row, column + 1)?;
        Pixels::checked(pixels, expected).map_err(|found| {
            let found = format!("pixels of CRC-32 {found:08x}");
            Error::data(place(), found, format!("{expected:08x}"))
        })
    }
}
