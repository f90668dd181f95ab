//! A whole split in memory: a [`Store`] comes in, flat arrays that a trainer indexes go out.

use super::{reader::Store, rows::split_name};
use base::{Error, Result};
use data::{IMAGE_BYTES, Split};

/// A split of a complete store: `n` images with `a` attacks each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InMemorySplit {
    /// `[n]` image ids, ascending.
    pub ids: Vec<u64>,
    /// `[n]` true classes, from 0.
    pub labels: Vec<u8>,
    /// `[n]` classes that the surrogate gives the clean images.
    pub clean_preds: Vec<u8>,
    /// `[a]` names of the attacks, in the order of their ids.
    pub attacks: Vec<String>,
    /// `[n, 1 + a, 3072]`: of each image the clean bytes, then each attack's.
    pub pixels: Vec<u8>,
    /// `[n, a]` classes that the surrogate gives the samples.
    pub preds: Vec<u8>,
    /// `[n, a]` whether a sample differs from its clean image: one that does not is clean to a detector.
    pub changed: Vec<bool>,
}

impl InMemorySplit {
    /// Images.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether image `row` differs from the clean one in this `variant`, which 0, the clean one, never does.
    pub fn is_changed(&self, row: usize, variant: usize) -> bool {
        variant > 0 && self.changed[row * self.attacks.len() + variant - 1]
    }

    /// The 3072 bytes of image `row` in one `variant`: 0 is clean, `k` is attack `k - 1`.
    ///
    /// # Panics
    /// When there is no such row or variant, as indexing does.
    pub fn variant(&self, row: usize, variant: usize) -> &[u8] {
        let variants = 1 + self.attacks.len();
        assert!(variant < variants, "variant {variant} of {variants}");
        let start = (row * variants + variant) * IMAGE_BYTES;
        &self.pixels[start..start + IMAGE_BYTES]
    }
}

impl Store {
    /// Reads the whole of `split` into memory, each byte checked.
    ///
    /// # Errors
    /// As [`Store::for_each`]; an unfinished store is refused.
    pub fn load(&self, split: Split) -> Result<InMemorySplit> {
        self.check_complete()?;
        let attacks = self.attacks().iter().map(|a| a.name.clone());
        let mut table = InMemorySplit {
            attacks: attacks.collect(),
            ..InMemorySplit::default()
        };
        self.reserve(&mut table, split)?;
        self.for_each(split, |image, samples| {
            table.ids.push(image.id);
            table.labels.push(image.label);
            table.clean_preds.push(image.clean_pred);
            table.pixels.extend_from_slice(&image.pixels);
            for sample in samples {
                table.pixels.extend_from_slice(&sample.pixels);
                table.preds.push(sample.pred);
                table.changed.push(*sample.pixels != *image.pixels);
            }
            Ok(())
        })?;
        Ok(table)
    }

    /// Makes room for the pixels that the file claims, if it is large enough to hold them.
    fn reserve(&self, table: &mut InMemorySplit, split: Split) -> Result<()> {
        let bytes = self.bytes()?;
        let each = (1 + self.attacks().len()) as u64 * IMAGE_BYTES as u64;
        let claimed = self.meta().images_of(split).checked_mul(each);
        let Some(claimed) = claimed.filter(|claimed| *claimed <= bytes) else {
            return Err(Error::data(
                self.part(format!("images in {}", split_name(split))),
                format!("{} in {bytes} bytes", self.meta().images_of(split)),
                format!("at most {}", bytes / each),
            ));
        };
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        table.pixels.try_reserve_exact(claimed).map_err(|_| {
            Error::io("load into memory", &self.path)(std::io::ErrorKind::OutOfMemory.into())
        })
    }

    /// The file's length.
    pub(super) fn bytes(&self) -> Result<u64> {
        let metadata = std::fs::metadata(&self.path).map_err(Error::io("read", &self.path))?;
        Ok(metadata.len())
    }
}
