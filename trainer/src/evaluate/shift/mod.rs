//! Evaluation under distribution shift: on labeled arrays (natural shift, such as CIFAR-10.1), on the files of
//! CIFAR-10-C, and on corruptions computed here.

mod arrays;
mod cifar10_c;
mod computed;
mod print;
mod result;

use std::path::Path;

use base::{Result, progress::Progress};
use candle_core::Device;
use cli::normalization::NormalizationArguments;
use data::balanced_subset;
use nn::{
    ComputeDevice,
    model::{Classifier, Loaded, predicted_classes},
};
use rayon::prelude::*;

use crate::report::evaluation::Model;

pub use self::{
    computed::CleanImages,
    result::{ArraysEvaluation, CorruptionEvaluation},
};

/// A model to be evaluated, and how.
pub struct ShiftRequest<'a> {
    /// The classifier's file.
    pub model: &'a Path,
    /// The classifier's normalization, where its metadata lack it.
    pub normalization: NormalizationArguments,
    /// Use only so many images, balanced over the classes.
    pub limit: Option<usize>,
    /// Seed of the noise and of the limit's choice.
    pub seed: u64,
    /// Images per batch.
    pub batch_size: usize,
    /// The device.
    pub device: &'a ComputeDevice,
}

/// The model in evaluation mode.
struct Evaluated<'a> {
    loaded: Loaded,
    classifier: Box<dyn Classifier>,
    batch_size: usize,
    device: &'a Device,
}

impl<'a> ShiftRequest<'a> {
    fn load(&self) -> Result<Evaluated<'a>> {
        let loaded = Loaded::read(self.model, self.normalization.given()?, self.device)?;
        Ok(Evaluated {
            classifier: loaded.network.eval()?,
            loaded,
            batch_size: self.batch_size,
            device: self.device,
        })
    }

    /// The indices of the images that are used.
    fn chosen(&self, labels: &[u8], classes: usize) -> Result<Vec<usize>> {
        match self.limit {
            Some(count) => balanced_subset(labels, classes, count, self.seed),
            None => Ok((0..labels.len()).collect()),
        }
    }
}

impl Evaluated<'_> {
    fn classes(&self) -> usize {
        self.loaded.network.describe().classes
    }

    fn describe(&self) -> Model {
        super::request::describe_model(&self.loaded)
    }

    /// How many of the images of these indices are classified correctly. `image` gives the planar bytes and the
    /// class of an index.
    ///
    /// # Errors
    /// [`base::Error::NonFinite`] for an infinite or NaN logit.
    fn correct(
        &self,
        indices: &[usize],
        image: impl Fn(usize) -> (Vec<u8>, u8) + Sync,
        progress: &mut Progress,
        note: &str,
    ) -> Result<u64> {
        let mut correct = 0;
        for batch in indices.chunks(self.batch_size) {
            let images: Vec<(Vec<u8>, u8)> = batch.par_iter().map(|&index| image(index)).collect();
            let (pixels, labels): (Vec<Vec<u8>>, Vec<u8>) = images.into_iter().unzip();
            let pixels = attacks::quantize::to_tensor(&pixels.concat(), self.device)?;
            let classes = predicted_classes(&self.classifier.logits(&pixels)?)?;
            correct += classes.iter().zip(&labels).filter(|(a, b)| a == b).count() as u64;
            progress.add(batch.len() as u64, note);
        }
        Ok(correct)
    }
}
