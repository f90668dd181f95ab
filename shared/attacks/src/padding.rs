//! Padding of shrinking batches: a model is called with one of a few batch sizes (`nn::padded_batch`), by repeating an
//! image whose results are dropped. Only where the device asks for it (`nn::pads_batches`).

use candle_core::{Device, Tensor};

use base::Result;
use nn::model::{Classifier, Features, Linearized};

/// How batches of at first `full` images are padded.
#[derive(Clone, Copy, Debug)]
pub struct Padding {
    full: usize,
    pads: bool,
}

impl Padding {
    /// The padding of a device.
    pub fn new(full: usize, device: &Device) -> Self {
        Self {
            full,
            pads: nn::pads_batches(device),
        }
    }

    /// Padding on every device, to test that no result depends on it.
    pub fn always(full: usize) -> Self {
        Self { full, pads: true }
    }

    /// The images `[B,…]`, and after them the last of them again up to the padded size. Gradients flow to the images
    /// alone.
    pub fn pad(self, images: &Tensor) -> Result<Tensor> {
        let size = images.dim(0)?;
        let repeats = match self.pads && size > 0 {
            true => nn::padded_batch(size, self.full) - size,
            false => 0,
        };
        if repeats == 0 {
            return Ok(images.clone());
        }
        let mut shape = images.dims().to_vec();
        shape[0] = repeats;
        let last = images.detach().narrow(0, size - 1, 1)?;
        let repeated = last.broadcast_as(shape)?.contiguous()?;
        Ok(Tensor::cat(&[images, &repeated], 0)?)
    }
}

/// The first `size` rows of what a model computed of a padded batch.
pub fn unpad(computed: &Tensor, size: usize) -> Result<Tensor> {
    match computed.dim(0)? == size {
        true => Ok(computed.clone()),
        false => Ok(computed.narrow(0, 0, size)?),
    }
}

/// A model that is called with padded batches.
pub struct PaddedModel<'a> {
    model: &'a dyn Classifier,
    padding: Padding,
}

impl<'a> PaddedModel<'a> {
    /// Calls `model`.
    pub fn new(model: &'a dyn Classifier, padding: Padding) -> Self {
        Self { model, padding }
    }
}

impl Classifier for PaddedModel<'_> {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let size = images.dim(0)?;
        let Features { maps, logits } = self.model.features(&self.padding.pad(images)?)?;
        let maps = maps.iter().map(|map| unpad(map, size));
        Ok(Features {
            maps: maps.collect::<Result<_>>()?,
            logits: unpad(&logits, size)?,
        })
    }

    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let logits = self.model.logits(&self.padding.pad(images)?)?;
        unpad(&logits, images.dim(0)?)
    }

    fn linearized<'a>(&'a self, images: &Tensor) -> Result<Box<dyn Linearized + 'a>> {
        let linearized = self.model.linearized(&self.padding.pad(images)?)?;
        Ok(Box::new(UnpaddedLinearized {
            logits: unpad(linearized.logits(), images.dim(0)?)?,
            linearized,
        }))
    }
}

/// The forward pass of a padded batch, with the images' logits alone; its rows are the first ones.
struct UnpaddedLinearized<'a> {
    linearized: Box<dyn Linearized + 'a>,
    logits: Tensor,
}

impl Linearized for UnpaddedLinearized<'_> {
    fn logits(&self) -> &Tensor {
        &self.logits
    }

    fn vjp(&mut self, rows: &[usize], grad_logits: &[Tensor]) -> Result<Vec<Tensor>> {
        self.linearized.vjp(rows, grad_logits)
    }
}
