//! Batches: rows of a table in memory come in, tensors on the device go out.

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
    /// `B`: whether the image differs from the clean one. A sample that equals it is clean to the detector.
    pub attacked: Vec<bool>,
    /// Steps before this one in the whole run: the key of what is random in it.
    pub step: u64,
}

impl TrainBatch {
    /// The labels as `[B]` u32.
    pub fn targets(&self) -> Result<Tensor> {
        classes(self.labels.iter().copied(), self.images.device())
    }

    /// What the detector is to say, as `[B]` u32: 1 where the image is adversarial.
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

/// The images of a table, and where batches of them are made.
pub struct Source {
    table: InMemorySplit,
    /// For a CUDA device.
    on_device: Option<ImagePool>,
    device: Device,
}

impl Source {
    /// Brings the images of a table to where batches are made.
    pub fn new(table: InMemorySplit, device: &Device) -> Result<Self> {
        Ok(Self {
            on_device: ImagePool::new(&table.pixels, device)?,
            table,
            device: device.clone(),
        })
    }

    /// Augments `(row, variant)`. What happens to an image depends on the seed, the epoch and its
    /// id alone.
    pub fn augmented(
        &self,
        rows: &[(usize, usize)],
        augment: &Augment,
        (seed, epoch): (u64, u64),
    ) -> Result<Tensor> {
        let window = |&(row, _): &(usize, usize)| {
            augment.draw(&mut Stream::new(
                seed,
                "augment",
                &[epoch, self.table.ids[row]],
            ))
        };
        self.show(rows, &rows.iter().map(window).collect::<Vec<_>>())
    }

    /// `(row, variant)` as they are.
    pub fn plain(&self, rows: &[(usize, usize)]) -> Result<Tensor> {
        self.show(rows, &vec![CropWindow::WHOLE; rows.len()])
    }

    fn show(&self, rows: &[(usize, usize)], windows: &[CropWindow]) -> Result<Tensor> {
        if let Some(on_device) = &self.on_device {
            let variants = 1 + self.table.attacks.len();
            let place = |&(row, variant): &(usize, usize)| (row * variants + variant) as u32;
            let rows: Vec<u32> = rows.iter().map(place).collect();
            return Ok(on_device.show(&self.table.pixels, &rows, windows)?);
        }
        let mut floats = vec![0.0; rows.len() * IMAGE_BYTES];
        floats
            .par_chunks_exact_mut(IMAGE_BYTES)
            .zip(rows)
            .zip(windows)
            .for_each(|((out, &(row, variant)), window)| {
                window.show(self.table.variant(row, variant), out);
            });
        let shape = (rows.len(), 3, 32, 32);
        Ok(Tensor::from_vec(floats, shape, &self.device)?)
    }
}

impl Deref for Source {
    type Target = InMemorySplit;

    fn deref(&self) -> &InMemorySplit {
        &self.table
    }
}

/// Clean images as a table without attacks, ids counted from `first`.
pub fn clean_table(pictures: &[Image], first: u64) -> InMemorySplit {
    InMemorySplit {
        ids: (first..).take(pictures.len()).collect(),
        labels: pictures.iter().map(|picture| picture.label).collect(),
        pixels: pictures.iter().flat_map(|p| p.pixels.to_vec()).collect(),
        ..InMemorySplit::default()
    }
}
