//! ATTA, adversarial training with transferable adversarial examples (Zheng, Zhang, Gu, Lee, Prakash, 2020): an
//! image's perturbation is kept from epoch to epoch, in coordinates of the image before its augmentation, and the
//! attack of an epoch goes on from it.

use attacks::signed_gradient::cross_entropy_gradient;
use base::{Error, Result, random::Stream};
use candle_core::Tensor;
use data::IMAGE_BYTES;
use nn::{CropWindow, model::Classifier};
use rayon::prelude::*;

use super::{
    MethodInputs, Step,
    adversarial_step::{AdversarialLoss, AdversarialStep},
    inner::InnerMaximization,
    pgd_at,
};
use crate::{augment::Crop, batch::TrainBatch, config::Perturbation, eps::Eps};

/// Epochs after which perturbations begin anew, unless set: the authors'.
const RESET: u32 = 10;
/// Standard deviation of a new perturbation.
const START: f32 = 0.001;
/// Zeros on each side of the image that a padded crop may show.
const PADDING: usize = 4;
/// Height and width of an image.
const IMAGE_SIZE: usize = 32;
/// Height and width of a perturbation: those of the padded image.
const SIZE: usize = IMAGE_SIZE + 2 * PADDING;
/// Numbers of a perturbation.
const LEN: usize = 3 * SIZE * SIZE;
/// Largest absolute stored value; it stands for a perturbation of eps. At eps 8/255 one pixel level is 15 units.
const MOST: f32 = 120.0;

/// The authors': one step of about 0.015 for each batch.
pub fn defaults() -> Perturbation {
    Perturbation {
        steps: 1,
        step_size: Eps::levels(4),
        reset: Some(RESET),
        ..pgd_at::defaults()
    }
}

/// The row's constructor.
///
/// # Errors
/// [`Error::Usage`] for an augmentation that resizes: a perturbation cannot be put back.
pub fn build(inputs: MethodInputs) -> Result<Box<dyn Step>> {
    let config = inputs.config;
    match config.augment.crop {
        Crop::None => {}
        Crop::Pad(zeros) if zeros <= PADDING => {}
        _ => {
            return Err(Error::Usage(
                "--method atta: it keeps perturbations of whole images; take --augment pad or none"
                    .into(),
            ));
        }
    }
    let inner = pgd_at::inner(config);
    let perturbations = Perturbations::new(inputs.train_images, inner.eps() as f32);
    let reset = config.perturbation.as_ref().and_then(|p| p.reset);
    let atta = Atta {
        inner,
        perturbations,
        reset: u64::from(reset.unwrap_or(RESET)),
        seed: config.seed,
    };
    AdversarialStep::build(inputs, atta)
}

/// A perturbation of every training image, in units of 1/120 of the ball's radius.
pub struct Perturbations {
    values: Vec<i8>,
    eps: f32,
    /// The epoch that they were last begun anew in.
    begun: Option<u64>,
}

impl Perturbations {
    fn new(images: usize, eps: f32) -> Self {
        Self {
            values: vec![0; images * LEN],
            eps,
            begun: None,
        }
    }

    /// Small normal noise for every image; a function of the seed, the epoch and the image's row.
    fn begin(&mut self, seed: u64, epoch: u64) {
        let scale = START / self.eps * MOST;
        let rows = self.values.par_chunks_exact_mut(LEN).enumerate();
        rows.for_each(|(row, values)| {
            let mut stream = Stream::new(seed, "atta", &[epoch, row as u64]);
            for value in values {
                *value = to_level(scale * stream.normal() as f32);
            }
        });
        self.begun = Some(epoch);
    }

    /// A checkpoint's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let begun = self.begun.map_or(u64::MAX, |epoch| epoch).to_le_bytes();
        let values = self.values.iter().map(|&value| value as u8);
        begun.into_iter().chain(values).collect()
    }

    /// Restores [`Perturbations::bytes`].
    ///
    /// # Errors
    /// [`Error::Data`] for another number of images.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        match bytes.split_first_chunk() {
            Some((&begun, values)) if values.len() == self.values.len() => {
                let begun = u64::from_le_bytes(begun);
                self.begun = (begun != u64::MAX).then_some(begun);
                self.values = values.iter().map(|&value| value as i8).collect();
                Ok(())
            }
            _ => Err(Error::data(
                "the checkpoint's perturbations",
                format!("{} bytes", bytes.len()),
                format!("{} bytes", 8 + self.values.len()),
            )),
        }
    }

    /// The perturbation of row `row` as a window shows it, `[3,32,32]`.
    fn show(&self, row: usize, window: &CropWindow, out: &mut [f32]) {
        let values = &self.values[row * LEN..(row + 1) * LEN];
        let unit = self.eps / MOST;
        for (i, out) in out.iter_mut().enumerate() {
            *out = f32::from(values[place(i, window)]) * unit;
        }
    }

    /// Keeps what a window shows; the rest of the row's perturbation stays.
    fn keep(&mut self, row: usize, window: &CropWindow, shown: &[f32]) {
        let unit = MOST / self.eps;
        let values = &mut self.values[row * LEN..(row + 1) * LEN];
        for (i, value) in shown.iter().enumerate() {
            values[place(i, window)] = to_level(value * unit);
        }
    }

    /// The perturbation of row `row` on the whole image, `3072` numbers.
    pub fn whole(&self, row: usize) -> Vec<f32> {
        let mut shown = vec![0.0; IMAGE_BYTES];
        self.show(row, &CropWindow::WHOLE, &mut shown);
        shown
    }
}

/// The nearest number that a perturbation can hold.
fn to_level(value: f32) -> i8 {
    value.round().clamp(-MOST, MOST) as i8
}

/// Where number `i` of what a window shows is in the perturbation.
fn place(i: usize, window: &CropWindow) -> usize {
    let (channel, y, x) = (
        i / (IMAGE_SIZE * IMAGE_SIZE),
        i / IMAGE_SIZE % IMAGE_SIZE,
        i % IMAGE_SIZE,
    );
    let x = match window.mirrored {
        true => IMAGE_SIZE - 1 - x,
        false => x,
    };
    // Offsets of a padded crop are at least -PADDING.
    let at = |offset: i32, position: usize| {
        (position as i32 + offset + PADDING as i32).clamp(0, SIZE as i32 - 1) as usize
    };
    (channel * SIZE + at(window.top, y)) * SIZE + at(window.left, x)
}

struct Atta {
    inner: InnerMaximization,
    perturbations: Perturbations,
    reset: u64,
    seed: u64,
}

impl AdversarialLoss for Atta {
    fn examples(&mut self, model: &dyn Classifier, batch: &TrainBatch) -> Result<Tensor> {
        let period = batch.epoch / self.reset * self.reset;
        if self.perturbations.begun != Some(period) {
            self.perturbations.begin(self.seed, period);
        }
        let mut start = vec![0.0; batch.rows.len() * IMAGE_BYTES];
        let kept = &self.perturbations;
        start
            .par_chunks_exact_mut(IMAGE_BYTES)
            .zip(&batch.rows)
            .zip(&batch.windows)
            .for_each(|((out, &row), window)| kept.show(row, window, out));
        let images = &batch.images;
        let start = Tensor::from_vec(start, images.dims(), images.device())?;
        let examples = self.inner.ascend(batch, (images + start)?, &|images| {
            cross_entropy_gradient(model, images, &batch.labels, &batch.ids)
        })?;
        let moved = (&examples - images)?.flatten_all()?.to_vec1::<f32>()?;
        let rows = batch.rows.iter().zip(&batch.windows);
        for ((&row, window), shown) in rows.zip(moved.chunks_exact(IMAGE_BYTES)) {
            self.perturbations.keep(row, window, shown);
        }
        Ok(examples)
    }

    fn perturbations(&self) -> Option<&Perturbations> {
        Some(&self.perturbations)
    }

    fn perturbations_mut(&mut self) -> Option<&mut Perturbations> {
        Some(&mut self.perturbations)
    }
}
