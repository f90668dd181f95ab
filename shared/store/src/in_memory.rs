//! A whole split in memory, as flat arrays that a trainer indexes.

use super::reader::Store;
use base::{Error, Result};
use data::{IMAGE_BYTES, Split};

/// A split of a complete store: `n` images with `a` attacks each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InMemorySplit {
    /// `[n]` image ids, ascending.
    pub ids: Vec<u64>,
    /// `[n]` true classes, from 0.
    pub labels: Vec<u8>,
    /// `[n]` the surrogate's predictions for the clean images.
    pub clean_preds: Vec<u8>,
    /// `[a]` names of the attacks, in the order of their ids.
    pub attacks: Vec<String>,
    /// `[n, 1 + a, 3072]`: of each image the clean bytes, then each attack's.
    pub pixels: Vec<u8>,
    /// `[n, a]` the surrogate's predictions for the samples.
    pub preds: Vec<u8>,
    /// `[n, a]` whether a sample differs from its clean image: one that does not is clean to a detector.
    pub changed: Vec<bool>,
    /// `[n, a]` L2 distances of the samples from their clean images, in units of `[0,1]`.
    pub l2: Vec<f32>,
    /// `[n, a]` Linf distances likewise.
    pub linf: Vec<f32>,
}

impl InMemorySplit {
    /// Images.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no images.
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

    /// The same images without their samples.
    #[must_use]
    pub fn clean_only(self) -> Self {
        let images = 0..self.len();
        let pixels = images.flat_map(|row| self.variant(row, 0).iter().copied());
        Self {
            pixels: pixels.collect(),
            attacks: Vec::new(),
            preds: Vec::new(),
            changed: Vec::new(),
            l2: Vec::new(),
            linf: Vec::new(),
            ..self
        }
    }

    /// The same images with their samples and those of `other`, a split of the same images.
    ///
    /// # Errors
    /// What differs, for splits of other images.
    pub fn with_samples_of(self, other: Self) -> std::result::Result<Self, String> {
        if self.ids != other.ids || self.labels != other.labels {
            return Err("other ids or labels".into());
        }
        let mut both = Self {
            attacks: [&self.attacks[..], &other.attacks].concat(),
            ..Self::default()
        };
        let (ours, theirs) = (self.attacks.len(), other.attacks.len());
        both.pixels
            .reserve_exact(self.len() * (1 + ours + theirs) * IMAGE_BYTES);
        for row in 0..self.len() {
            if self.variant(row, 0) != other.variant(row, 0) {
                return Err(format!("other pixels of image {}", self.ids[row]));
            }
            for variant in 0..=ours {
                both.pixels.extend_from_slice(self.variant(row, variant));
            }
            for variant in 1..=theirs {
                both.pixels.extend_from_slice(other.variant(row, variant));
            }
            for (part, attacks) in [(&self, ours), (&other, theirs)] {
                let samples = row * attacks..(row + 1) * attacks;
                both.preds.extend_from_slice(&part.preds[samples.clone()]);
                both.changed
                    .extend_from_slice(&part.changed[samples.clone()]);
                both.l2.extend_from_slice(&part.l2[samples.clone()]);
                both.linf.extend_from_slice(&part.linf[samples]);
            }
        }
        Ok(Self {
            ids: self.ids,
            labels: self.labels,
            clean_preds: self.clean_preds,
            ..both
        })
    }

    /// As [`Store::load`].
    pub(super) fn read(store: &Store, split: Split) -> Result<Self> {
        store.check_complete()?;
        let attacks = store.attacks().iter().map(|attack| attack.name.clone());
        let mut read = Self {
            attacks: attacks.collect(),
            ..Self::default()
        };
        read.reserve_pixels(store, split)?;
        store.for_each(split, |image, samples| {
            read.ids.push(image.id);
            read.labels.push(image.label);
            read.clean_preds.push(image.clean_pred);
            read.pixels.extend_from_slice(&image.pixels);
            for sample in samples {
                read.pixels.extend_from_slice(&sample.pixels);
                read.preds.push(sample.pred);
                read.changed.push(*sample.pixels != *image.pixels);
                read.l2.push(sample.l2 as f32);
                read.linf.push(sample.linf as f32);
            }
            Ok(())
        })?;
        Ok(read)
    }

    /// Reserves memory for the pixels that the file claims, if it is large enough to hold them.
    fn reserve_pixels(&mut self, store: &Store, split: Split) -> Result<()> {
        let (file, images) = (&store.file, store.meta().images_of(split));
        let bytes = file.len()?;
        let per_image = (1 + self.attacks.len()) as u64 * IMAGE_BYTES as u64;
        let claimed = images.checked_mul(per_image);
        let Some(claimed) = claimed.filter(|claimed| *claimed <= bytes) else {
            return Err(Error::data(
                file.part(format_args!("images in {split}")),
                format!("{images} in {bytes} bytes"),
                format!("at most {}", bytes / per_image),
            ));
        };
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        self.pixels.try_reserve_exact(claimed).map_err(|_| {
            Error::io("load into memory", file.path())(std::io::ErrorKind::OutOfMemory.into())
        })
    }
}
