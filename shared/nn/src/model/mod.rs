//! Models: classifiers of pixels in `[0,1]`, the detector, their weights and metadata. Nothing outside this
//! module names an architecture or a tensor of one.

mod accuracy;
mod architectures;
mod calibration;
mod detector;
mod foreign;
mod layers;
mod linearized;
mod load;
mod normalization;
mod origin;
mod preact_resnet;
mod resnet;
mod spec;
mod transformer;
mod weights;

pub use accuracy::warn_of_accuracy;
pub use architectures::{ARCHITECTURES, Architecture, ModelDescription, duplicate};
pub use calibration::{calibrated, top2_margin};
pub use detector::{Detection, Detector, DetectorInput};
pub use linearized::{Graph, Linearized};
pub use load::Loaded;
pub use normalization::{Channels, Normalization};
pub use origin::Origin;
pub use transformer::Dropout;
pub use weights::{Metadata, Weights};

use candle_core::Tensor;

use base::{Error, Result};

/// Channels of the stem of the paper's model.
pub const PAPER_WIDTH: usize = 64;

/// Feature maps and logits of a batch.
pub struct Features {
    /// The stem's output and each stage's, `[B,H,W,C]`, from the input's resolution down. For ResNets of width
    /// w: `[B,32,32,w]`, `[B,32,32,w]`, `[B,16,16,2w]`, `[B,8,8,4w]`, `[B,4,4,8w]`.
    pub maps: Vec<Tensor>,
    /// `[B,classes]`.
    pub logits: Tensor,
}

/// A trainable classifier.
pub trait Network: Send + Sync {
    /// Feature maps and logits of `[B,3,32,32]` pixels in `[0,1]` in training mode: normalization by batch
    /// statistics, which move the running ones; differentiable in the weights and the pixels.
    fn train(&self, images: &Tensor) -> Result<Features>;

    /// A copy in evaluation mode: running statistics, constant weights.
    fn eval(&self) -> Result<Box<dyn Classifier>>;

    /// Its tensors.
    fn weights(&self) -> &Weights;

    /// Architecture, width and classes.
    fn describe(&self) -> ModelDescription;

    /// Numbers that are kept of one image for the backward pass: the activations and, in training mode, what
    /// the normalizations need besides. A lower bound of the memory that a batch takes.
    fn activation_count(&self, training: bool) -> usize;

    /// The normalization that is its first layer.
    fn normalization(&self) -> Option<Normalization>;

    /// Replaces its first layer.
    fn set_normalization(&mut self, normalization: Option<Normalization>) -> Result<()>;
}

/// A classifier in evaluation mode with constant weights, as attacks see it.
pub trait Classifier: Send + Sync {
    /// Feature maps and logits of `[B,3,32,32]` pixels in `[0,1]`; differentiable in the pixels.
    fn features(&self, images: &Tensor) -> Result<Features>;

    /// Only the logits, `[B,classes]`.
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.features(images)?.logits)
    }

    /// The forward pass of `[B,3,32,32]` pixels in `[0,1]`, kept for any number of backward passes.
    fn linearized<'a>(&'a self, images: &Tensor) -> Result<Box<dyn Linearized + 'a>> {
        Ok(Box::new(Graph::new(images, |pixels| self.logits(pixels))?))
    }
}

/// The argmax of each row of `[B,classes]`; of equal logits the first.
///
/// # Errors
/// [`Error::NonFinite`] for an infinite or NaN logit.
pub fn predicted_classes(logits: &Tensor) -> Result<Vec<u8>> {
    let rows: Vec<Vec<f32>> = logits.to_vec2()?;
    if let Some(wrong) = rows.iter().flatten().find(|output| !output.is_finite()) {
        return Err(Error::NonFinite(format!(
            "an output of the model is {wrong}"
        )));
    }
    let first_largest = |row: &Vec<f32>| {
        let larger = |best, class| if row[class] > row[best] { class } else { best };
        (0..row.len()).fold(0, larger) as u8
    };
    Ok(rows.iter().map(first_largest).collect())
}

#[cfg(test)]
mod tests;
