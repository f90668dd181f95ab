//! Attack batch: clean images as bytes and as a tensor, with labels and ids; validated once, when
//! it is made.

use candle_core::{Device, Tensor};

use super::{quantize, style::StyleSource};
use base::{Error, Result};
use data::IMAGE_BYTES;

/// A batch of images to attack. What an attack does to one of them depends on that image,
/// its label, its id, its style image and the seed alone, never on the rest of the batch.
pub struct AttackBatch<'a> {
    pixels: &'a [u8],
    images: Tensor,
    labels: &'a [u8],
    ids: &'a [u64],
    seed: u64,
    styles: Option<&'a dyn StyleSource>,
    start: Option<Tensor>,
}

impl<'a> AttackBatch<'a> {
    /// `B` images of bytes with their `B` true classes and `B` ids, the keys of their random
    /// numbers together with the build's `seed`. The images are put on `device`.
    ///
    /// # Errors
    /// [`Error::Data`] when the numbers of bytes, labels and ids do not fit each other.
    pub fn new(
        pixels: &'a [u8],
        labels: &'a [u8],
        ids: &'a [u64],
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        for (what, found, expected) in [
            ("bytes", pixels.len(), labels.len() * IMAGE_BYTES),
            ("ids", ids.len(), labels.len()),
        ] {
            if found != expected {
                return Err(Error::data(format!("{what} of the batch"), found, expected));
            }
        }
        Ok(Self {
            pixels,
            images: quantize::to_tensor(pixels, device)?,
            labels,
            ids,
            seed,
            styles: None,
            start: None,
        })
    }

    /// The same batch with the style images that some attacks take
    /// ([`AttackTraits::needs_style`](crate::AttackTraits)).
    #[must_use]
    pub fn with_styles(self, styles: &'a dyn StyleSource) -> Self {
        Self {
            styles: Some(styles),
            ..self
        }
    }

    /// The same batch with images of `B * 3072` bytes at which iterative attacks begin
    /// ([`AttackTraits::takes_start`](crate::AttackTraits)), in place of their own start.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of bytes.
    pub fn with_start(self, pixels: &[u8]) -> Result<Self> {
        if pixels.len() != self.pixels.len() {
            let (found, expected) = (pixels.len(), self.pixels.len());
            return Err(Error::data("bytes of the start", found, expected));
        }
        Ok(Self {
            start: Some(quantize::to_tensor(pixels, self.device())?),
            ..self
        })
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The clean images, `B * 3072` bytes.
    pub fn pixels(&self) -> &[u8] {
        self.pixels
    }

    /// The clean images, `[B,3,32,32]`, f32: byte / 255.
    pub fn images(&self) -> &Tensor {
        &self.images
    }

    /// The device that the images are on.
    pub fn device(&self) -> &Device {
        self.images.device()
    }

    /// The true classes.
    pub fn labels(&self) -> &[u8] {
        self.labels
    }

    /// The images' ids.
    pub fn ids(&self) -> &[u64] {
        self.ids
    }

    /// The build's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The images at which iterative attacks begin, `[B,3,32,32]`; none where they choose their own start.
    pub fn start(&self) -> Option<&Tensor> {
        self.start.as_ref()
    }

    /// For each image its style image, `[B,3,32,32]`, f32 in `[0,1]`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a batch without a source of them, and what the source refuses.
    pub fn style_images(&self) -> Result<Tensor> {
        let Some(source) = self.styles else {
            return Err(Error::Usage("the batch has no style images".into()));
        };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for (&id, &label) in self.ids.iter().zip(self.labels) {
            pixels.extend(source.style(self.seed, id, label)?);
        }
        if pixels.len() != self.pixels.len() {
            let (found, expected) = (pixels.len(), self.pixels.len());
            return Err(Error::data("bytes of the style images", found, expected));
        }
        quantize::to_tensor(&pixels, self.device())
    }
}
