//! Nets: pixels in `[0,1]` come in, feature maps and logits go out.

mod detector;
mod layers;
mod resnet;
mod weights;

pub use detector::{Detection, Detector, DetectorInput, Dropout};
pub use layers::Mode;
pub use resnet::{PAPER_WIDTH, ResNet34};
pub use weights::{Metadata, Weights};

use candle_core::{D, Tensor};

use crate::Result;

/// What a classifier says of a batch.
pub struct Features {
    /// Stem and stages 1 to 4: for ResNet34 of width w, `[B,w,32,32]`, `[B,w,32,32]`,
    /// `[B,2w,16,16]`, `[B,4w,8,8]`, `[B,8w,4,4]`.
    pub maps: [Tensor; 5],
    /// `[B,10]`.
    pub logits: Tensor,
}

/// A frozen classifier in evaluation mode, as attacks see it.
pub trait Classifier: Send + Sync {
    /// Feature maps and logits of `[B,3,32,32]` pixels in `[0,1]`; differentiable in the pixels.
    fn features(&self, images: &Tensor) -> Result<Features>;

    /// Only the logits, `[B,10]`.
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.features(images)?.logits)
    }
}

/// The likeliest class of each row of `[B,classes]`.
pub fn likeliest(logits: &Tensor) -> Result<Vec<u8>> {
    let classes: Vec<u32> = logits.argmax(D::Minus1)?.to_vec1()?;
    Ok(classes.into_iter().map(|class| class as u8).collect())
}
