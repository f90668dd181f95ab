//! The attacked model as evaluation attacks see it: logits, and gradients of a loss in the logits, of
//! pixels on the host.

use std::cell::Cell;

use attacks::{
    logits::{self, LogitRow},
    padding::{PaddedModel, Padding},
};
use base::{Error, Result};
use candle_core::{Device, Tensor};
use data::IMAGE_BYTES;
use nn::model::Classifier;

/// A model in evaluation mode on its device.
pub struct Target<'a> {
    model: &'a dyn Classifier,
    device: &'a Device,
    /// Called before every pass; its error ends the attack.
    poll: &'a dyn Fn() -> Result<()>,
    /// The most images of a pass so far: batches begin whole and lose images.
    full: Cell<usize>,
    always_padded: bool,
}

/// Logits and gradients of a batch.
pub struct Gradient {
    /// One row for each image.
    pub logits: Vec<LogitRow>,
    /// d loss / d pixels, `B * 3072`.
    pub pixels: Vec<f32>,
}

impl<'a> Target<'a> {
    /// A target whose every pass asks `poll` first, which fails when the program is to stop.
    pub fn new(
        model: &'a dyn Classifier,
        device: &'a Device,
        poll: &'a dyn Fn() -> Result<()>,
    ) -> Self {
        Self {
            model,
            device,
            poll,
            full: Cell::new(0),
            always_padded: false,
        }
    }

    /// The same target, padded on every device ([`attacks::padding`]), to test that no result depends on it.
    #[must_use]
    pub fn always_padded(self) -> Self {
        Self {
            always_padded: true,
            ..self
        }
    }

    /// How a pass of `size` images is padded.
    pub fn padding(&self, size: usize) -> Padding {
        let full = self.full.get().max(size);
        self.full.set(full);
        match self.always_padded {
            true => Padding::always(full),
            false => Padding::new(full, self.device),
        }
    }

    /// The model, padded for passes of `size` images.
    fn padded(&self, size: usize) -> PaddedModel<'_> {
        PaddedModel::new(self.model, self.padding(size))
    }

    /// The model.
    pub fn model(&self) -> &dyn Classifier {
        self.model
    }

    /// `B * 3072` pixels as a `[B,3,32,32]` tensor on the device, after a call of `poll`.
    pub fn tensor(&self, pixels: &[f32]) -> Result<Tensor> {
        (self.poll)()?;
        let shape = (pixels.len() / IMAGE_BYTES, 3, 32, 32);
        Ok(Tensor::from_slice(pixels, shape, self.device)?)
    }

    /// The logits of `B * 3072` pixels; `ids` and `labels` are the images'.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a logit that is not finite, [`Error::Data`] for a label that is no class.
    pub fn logits(&self, pixels: &[f32], ids: &[u64], labels: &[u8]) -> Result<Vec<LogitRow>> {
        nn::retry_out_of_memory(self.device, || {
            let images = self.tensor(pixels)?;
            logits::rows(&self.padded(ids.len()).logits(&images)?, ids, labels)
        })
    }

    /// One forward and one backward pass. `grad_logits(row, logits, gradient)` writes, for the image at
    /// `row`, d loss / d logits into `gradient`, which is 0 before; it may be called again after a lack of memory.
    ///
    /// # Errors
    /// As [`Self::logits`]; [`Error::NonFinite`] for a gradient that is not finite.
    pub fn gradient(
        &self,
        pixels: &[f32],
        ids: &[u64],
        labels: &[u8],
        mut grad_logits: impl FnMut(usize, &[f32], &mut [f32]),
    ) -> Result<Gradient> {
        nn::retry_out_of_memory(self.device, || {
            self.gradient_once(pixels, ids, labels, &mut grad_logits)
        })
    }

    fn gradient_once(
        &self,
        pixels: &[f32],
        ids: &[u64],
        labels: &[u8],
        grad_logits: &mut impl FnMut(usize, &[f32], &mut [f32]),
    ) -> Result<Gradient> {
        let images = self.tensor(pixels)?;
        let model = self.padded(ids.len());
        let mut linearized = model.linearized(&images)?;
        let logits = logits::rows(linearized.logits(), ids, labels)?;
        let classes = logits.first().map_or(0, Vec::len);
        let mut seeds = vec![0.0; logits.len() * classes];
        for (row, (seed, logits)) in seeds
            .chunks_exact_mut(classes.max(1))
            .zip(&logits)
            .enumerate()
        {
            grad_logits(row, logits, seed);
        }
        let seeds = Tensor::from_vec(seeds, (logits.len(), classes), self.device)?;
        let rows: Vec<usize> = (0..logits.len()).collect();
        let pixels = linearized.vjp(&rows, &[seeds])?.remove(0);
        let pixels = pixels.flatten_all()?.to_vec1::<f32>()?;
        check_finite(&pixels, ids)?;
        Ok(Gradient { logits, pixels })
    }
}

/// Refuses a gradient that is not finite, naming the image.
pub fn check_finite(gradient: &[f32], ids: &[u64]) -> Result<()> {
    let mut images = gradient.chunks_exact(IMAGE_BYTES).zip(ids);
    match images.find(|(gradient, _)| gradient.iter().any(|g| !g.is_finite())) {
        None => Ok(()),
        Some((_, id)) => Err(Error::NonFinite(format!(
            "image {id}: the gradient of its pixels is not finite"
        ))),
    }
}
