//! Nets: pixels in `[0,1]` come in, feature maps and logits go out.

mod accuracy;
mod detector;
mod foreign;
mod layers;
mod linearized;
pub mod load;
mod normalization;
mod origin;
mod resnet;
mod spec;
mod transformer;
mod weights;

pub use accuracy::warn_of_accuracy;
pub use detector::{Detection, Detector, DetectorInput};
pub use linearized::{Graph, Linearized};
pub use load::Loaded;
pub use normalization::{Channels, Normalization};
pub use origin::Origin;
pub use resnet::{FrozenResNet34, PAPER_WIDTH, ResNet34};
pub use transformer::Dropout;
pub use weights::{Metadata, Weights};

use candle_core::Tensor;

use base::{Error, Result};

/// What a classifier says of a batch.
pub struct Features {
    /// Stem and stages 1 to 4: for ResNet34 of width w, `[B,32,32,w]`, `[B,32,32,w]`,
    /// `[B,16,16,2w]`, `[B,8,8,4w]`, `[B,4,4,8w]`.
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

    /// The model around `[B,3,32,32]` pixels in `[0,1]`.
    fn linearized<'a>(&'a self, images: &Tensor) -> Result<Box<dyn Linearized + 'a>> {
        Ok(Box::new(Graph::new(images, |pixels| self.logits(pixels))?))
    }
}

/// The likeliest class of each row of `[B,classes]`, the first of equals.
///
/// # Errors
/// [`Error::NonFinite`] for an output that is no number: such a model knows no class.
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
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_first_of_the_largest_outputs_is_the_class_and_no_number_is_none() {
        let classes = |rows: &[[f32; 3]]| {
            let logits = Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu);
            predicted_classes(&logits.unwrap())
        };
        let rows = [[-3.0, -1.0, -2.0], [0.0, 5.0, 5.0]];
        assert_eq!(classes(&rows).unwrap(), [1, 1]);
        for wrong in [f32::NAN, f32::INFINITY] {
            assert_eq!(classes(&[[0.0, wrong, 0.0]]).unwrap_err().exit_code(), 5);
        }
    }
}
