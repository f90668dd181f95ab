//! The images under evaluation: a seeded selection of a split of a data set or a store.

use std::path::{Path, PathBuf};

use base::{Error, Result, random};
use data::{Image, Split};
use nn::model::{Metadata, Origin};
use robustness::Batch;
use store::Store;

use crate::evaluate::val_was_trained_on;

/// Where the images come from.
#[derive(Clone, Debug)]
pub enum ImageSource {
    /// A data set.
    Data(PathBuf),
    /// A store's clean images.
    Store(PathBuf),
}

/// Images of a split in the order of evaluation.
pub struct Selection {
    /// The split.
    pub split: Split,
    /// Number of classes.
    pub classes: usize,
    /// The images.
    pub images: Vec<Image>,
    /// The split's images after them, in the same order.
    rest: Vec<Image>,
    /// The clean images of `val`, from which a detector's thresholds are taken.
    pub val: Vec<Image>,
    /// The data set, and the seed that drew `val`.
    pub origin: Origin,
}

impl ImageSource {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Data(path) | Self::Store(path) => path,
        }
    }

    /// `limit` images of a split, in an order that depends on the seed and the source's images alone. `val` is what
    /// the model, with these metadata, was not trained on.
    ///
    /// # Errors
    /// [`Error::Data`] where `val` was trained on, [`Error::Usage`] where the split has fewer images.
    pub fn select(
        &self,
        split: Split,
        limit: Option<usize>,
        seed: u64,
        (model, metadata): (&Path, &Metadata),
    ) -> Result<Selection> {
        let (classes, mut images, val, origin) = match self {
            Self::Data(path) => {
                // The model's own split, so that its val images are those that it has not seen.
                let origin = Origin::of(metadata);
                let split_seed = origin.as_ref().map_or(seed, |origin| origin.split_seed);
                let data = data::load(path, split_seed, None)?;
                if split == Split::Val && origin.is_none_or(|o| o.source_hash != data.source_hash) {
                    return Err(Error::data(
                        model.display(),
                        "metadata that do not say that it was trained on these images",
                        "a model whose val images are known (or measure --split test)",
                    ));
                }
                let origin = Origin {
                    source_hash: data.source_hash.clone(),
                    split_seed,
                };
                let images = data.split(split).to_vec();
                (data.classes.len(), images, data.val, origin)
            }
            Self::Store(path) => {
                let store = Store::open(path)?;
                if split == Split::Val
                    && let Some(reason) = val_was_trained_on(metadata, &store)
                {
                    let expected = "a model that has not seen them (or measure --split test)";
                    return Err(Error::data(model.display(), reason, expected));
                }
                let spec = &store.meta().spec;
                let origin = Origin {
                    source_hash: spec.source_hash.clone(),
                    split_seed: spec.seed,
                };
                let val = clean(&store, Split::Val)?;
                (spec.classes.len(), clean(&store, split)?, val, origin)
            }
        };
        images.sort_by_key(|image| image.source_index);
        let order = random::permutation(images.len(), seed, "robust", &[number(split)]);
        let count = limit.unwrap_or(images.len());
        if count > images.len() || images.is_empty() {
            let (path, found) = (self.path().display(), images.len());
            return Err(Error::Usage(format!(
                "{path}: found {found} images in {split}, expected at least {}",
                count.max(1)
            )));
        }
        let ordered = |part: &[usize]| part.iter().map(|&index| images[index].clone()).collect();
        Ok(Selection {
            split,
            classes,
            images: ordered(&order[..count]),
            rest: ordered(&order[count..]),
            val,
            origin,
        })
    }
}

impl Selection {
    /// BLAKE3 of source index, label and pixels of all images, as hex.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for image in &self.images {
            hasher.update(&image.source_index.to_le_bytes());
            hasher.update(&[image.label]).update(&image.pixels);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The images at these positions, as attacks see them. Their ids are those of the source, so that neither
    /// limit nor kind of source changes their random numbers.
    pub fn batch(&self, positions: &[usize]) -> Batch {
        let images = || positions.iter().map(|&position| &self.images[position]);
        let id = |image: &Image| (number(self.split) << 32) | u64::from(image.source_index);
        Batch {
            clean: images().flat_map(floats).collect(),
            labels: images().map(|image| image.label).collect(),
            ids: images().map(id).collect(),
        }
    }

    /// For each position a clean image of another class, the next one of the split in the order of evaluation, as pixels.
    ///
    /// # Errors
    /// [`Error::Data`] where all images of the split have one class.
    pub fn guides(&self, positions: &[usize]) -> Result<Vec<f32>> {
        let mut pixels = Vec::new();
        for &position in positions {
            let label = self.images[position].label;
            let mut later = self.images[position..]
                .iter()
                .chain(&self.rest)
                .chain(&self.images[..position]);
            let Some(other) = later.find(|image| image.label != label) else {
                let what = format!("the images of {}", self.split);
                return Err(Error::data(what, "one class", "two at least"));
            };
            pixels.extend(floats(other));
        }
        Ok(pixels)
    }
}

/// `[0,1]` pixels of an image.
pub fn floats(image: &Image) -> impl Iterator<Item = f32> {
    image
        .pixels
        .iter()
        .map(|&byte| attacks::quantize::to_float(byte))
}

fn clean(store: &Store, split: Split) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    store.for_each(split, |image, _| {
        images.push(Image {
            source_index: image.source_index,
            label: image.label,
            pixels: image.pixels.to_vec().into(),
        });
        Ok(())
    })?;
    Ok(images)
}

fn number(split: Split) -> u64 {
    split as u64
}
