//! Training batches: augmented images of a split as tensors on the device.

use std::ops::Deref;

use base::{Result, random::Stream};
use candle_core::{Device, Tensor};
use data::{IMAGE_BYTES, Image};
use nn::{CropWindow, ImagePool};
use rayon::prelude::*;
use store::InMemorySplit;

use crate::augment::Augment;

/// Images of one step.
pub struct TrainBatch {
    /// `[B,3,32,32]`, f32 in `[0,1]`.
    pub images: Tensor,
    /// `B` true classes.
    pub labels: Vec<u8>,
    /// `B` variants: 0 clean, `1 + i` the store's i-th attack.
    pub variants: Vec<usize>,
    /// `B`: whether the image differs from the clean one; a sample that equals it is clean to the detector.
    pub attacked: Vec<bool>,
    /// `B` image ids.
    pub ids: Vec<u64>,
    /// `B` rows of the training split.
    pub rows: Vec<usize>,
    /// `B` windows: how each image was augmented.
    pub windows: Vec<CropWindow>,
    /// Epochs before this one, those of earlier runs included (`Schedule::start`).
    pub epoch: u64,
    /// Steps before this one in the run.
    pub step: u64,
    /// Steps before this one, those of earlier runs included, as `epoch`; key of the step's random numbers.
    pub schedule_step: u64,
}

impl TrainBatch {
    /// The labels as `[B]` u32.
    pub fn targets(&self) -> Result<Tensor> {
        classes(self.labels.iter().copied(), self.images.device())
    }

    /// Targets of the detector as `[B]` u32: 1 where the image is adversarial.
    pub fn detector_targets(&self) -> Result<Tensor> {
        let attacked = self.attacked.iter().map(|attacked| u8::from(*attacked));
        classes(attacked, self.images.device())
    }
}

/// Class numbers as `[B]` u32.
fn classes(classes: impl Iterator<Item = u8>, device: &Device) -> Result<Tensor> {
    let classes: Vec<u32> = classes.map(u32::from).collect();
    Ok(Tensor::new(classes, device)?)
}

/// The images of a split, on the device that batches are for.
pub struct BatchSource {
    table: InMemorySplit,
    /// The images on a CUDA device; none on the CPU.
    pool: Option<ImagePool>,
    device: Device,
}

impl BatchSource {
    /// Uploads the images of a split, if the device is no CPU.
    pub fn new(table: InMemorySplit, device: &Device) -> Result<Self> {
        Ok(Self {
            pool: ImagePool::new(&table.pixels, device)?,
            table,
            device: device.clone(),
        })
    }

    /// The split's rows; frees the images.
    pub fn without_pixels(self) -> InMemorySplit {
        InMemorySplit {
            pixels: Vec::new(),
            ..self.table
        }
    }

    /// The augmented images of `(row, variant)`, and how they were augmented: a function of the seed, the epoch and
    /// the image's id alone.
    pub fn augmented(
        &self,
        rows: &[(usize, usize)],
        augment: &Augment,
        (seed, epoch): (u64, u64),
    ) -> Result<(Tensor, Vec<CropWindow>)> {
        let window = |&(row, _): &(usize, usize)| {
            augment.draw(&mut Stream::new(
                seed,
                "augment",
                &[epoch, self.table.ids[row]],
            ))
        };
        let windows: Vec<CropWindow> = rows.iter().map(window).collect();
        Ok((self.show(rows, &windows)?, windows))
    }

    /// The images of `(row, variant)` without augmentation.
    pub fn plain(&self, rows: &[(usize, usize)]) -> Result<Tensor> {
        self.show(rows, &vec![CropWindow::WHOLE; rows.len()])
    }

    fn show(&self, rows: &[(usize, usize)], windows: &[CropWindow]) -> Result<Tensor> {
        if let Some(pool) = &self.pool {
            let variants = 1 + self.table.attacks.len();
            let index = |&(row, variant): &(usize, usize)| (row * variants + variant) as u32;
            let rows: Vec<u32> = rows.iter().map(index).collect();
            return Ok(pool.crop_resize(&self.table.pixels, &rows, windows)?);
        }
        let mut floats = vec![0.0; rows.len() * IMAGE_BYTES];
        floats
            .par_chunks_exact_mut(IMAGE_BYTES)
            .zip(rows)
            .zip(windows)
            .for_each(|((out, &(row, variant)), window)| {
                window.crop_resize(self.table.variant(row, variant), out);
            });
        let shape = (rows.len(), 3, 32, 32);
        Ok(Tensor::from_vec(floats, shape, &self.device)?)
    }
}

impl Deref for BatchSource {
    type Target = InMemorySplit;

    fn deref(&self) -> &InMemorySplit {
        &self.table
    }
}

/// Clean images as a split without attacks, ids counted from `first`.
pub fn clean_split(images: &[Image], first: u64) -> InMemorySplit {
    InMemorySplit {
        ids: (first..).take(images.len()).collect(),
        labels: images.iter().map(|image| image.label).collect(),
        pixels: images.iter().flat_map(|p| p.pixels.to_vec()).collect(),
        ..InMemorySplit::default()
    }
}
