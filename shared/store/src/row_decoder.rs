//! Decoding of the rows of `image` and `sample`, every value checked.

use rusqlite::{Row, Statement, types::FromSql};

use super::{
    pixels::Pixels,
    reader::Store,
    rows::{ImageRow, SampleRow},
};
use base::{Error, Result};
use data::{IMAGE_BYTES, Split};

/// Decodes rows of a store's file by what its `meta` and `attack` tables allow.
pub(super) struct RowDecoder<'a> {
    store: &'a Store,
}

impl<'a> RowDecoder<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Id and split of a row of `image`.
    pub(super) fn id_and_split(&self, row: &Row) -> Result<(u64, Split)> {
        let id = self.value(row, 0)?;
        let name: String = self.value(row, 1)?;
        let split = Split::ALL.into_iter().find(|split| split.name() == name);
        let split = split.ok_or_else(|| {
            let found = format!("split '{}'", name.escape_debug());
            Error::data(self.image_place(id), found, "train, val or test")
        })?;
        Ok((id, split))
    }

    /// A row of `image`, whose id and split are decoded.
    pub(super) fn image(&self, row: &Row, id: u64, split: Split) -> Result<ImageRow> {
        let place = || self.image_place(id);
        Ok(ImageRow {
            id,
            split,
            source_index: self.value(row, 2)?,
            label: self.class(row, 3, place)?,
            pixels: self.pixels(row, 4, place)?,
            clean_pred: self.class(row, 6, place)?,
        })
    }

    /// The samples of an image, given the statement that selects them.
    pub(super) fn samples(&self, query: &mut Statement, image_id: u64) -> Result<Vec<SampleRow>> {
        let (file, attacks) = (&self.store.file, self.store.attacks());
        let mut samples: Vec<SampleRow> = Vec::with_capacity(attacks.len());
        let mut rows = query.query([image_id]).map_err(file.map_sqlite_error())?;
        while let Some(row) = rows.next().map_err(file.map_sqlite_error())? {
            let sample = self.sample(row)?;
            let (image, attack) = (sample.image_id, sample.attack_id);
            let is_known = attacks.iter().any(|known| known.id == attack);
            let is_ordered = samples.last().is_none_or(|last| last.attack_id < attack);
            if !is_known || !is_ordered || image != image_id {
                return Err(Error::data(
                    file.part(format_args!("samples of image {image_id}")),
                    format!("sample (image {image}, attack {attack})"),
                    "one of each attack, in order",
                ));
            }
            samples.push(sample);
        }
        Ok(samples)
    }

    fn sample(&self, row: &Row) -> Result<SampleRow> {
        let (image_id, attack_id) = (self.value(row, 0)?, self.value(row, 1)?);
        let place = || {
            let file = &self.store.file;
            file.part(format_args!(
                "sample (image {image_id}, attack {attack_id})"
            ))
        };
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
        let SampleRow { l2, linf, .. } = sample;
        // Written so that NaN fails too.
        if !(l2 >= 0.0 && l2.is_finite() && (0.0..=1.0).contains(&linf)) {
            let reason = format!("l2 {l2} and linf {linf} are no distances of images");
            return Err(Error::invalid(place(), reason));
        }
        Ok(sample)
    }

    fn image_place(&self, id: u64) -> String {
        self.store.file.part(format_args!("image {id}"))
    }

    fn value<T: FromSql>(&self, row: &Row, column: usize) -> Result<T> {
        row.get(column).map_err(self.store.file.map_sqlite_error())
    }

    /// The class in `column`, one of those that have a name.
    fn class(&self, row: &Row, column: usize, place: impl FnOnce() -> String) -> Result<u8> {
        let class = self.value(row, column)?;
        self.store.meta().check_class(class, place)?;
        Ok(class)
    }

    /// The pixels in `column`, whose CRC is in the next one.
    fn pixels(&self, row: &Row, column: usize, place: impl Fn() -> String) -> Result<Pixels> {
        let value = row
            .get_ref(column)
            .map_err(self.store.file.map_sqlite_error())?;
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
