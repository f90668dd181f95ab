//! Evaluation on images and labels in NumPy arrays, as CIFAR-10.1 is published.

use std::path::Path;

use base::{Error, Result, log, progress::Progress};
use data::{
    IMAGE_BYTES,
    npy::{self, Array},
    planar,
};

use super::{ArraysEvaluation, ShiftRequest};

impl ShiftRequest<'_> {
    /// Evaluates the model on the array `images`, `[N,32,32,3]` bytes, with `labels`, `[N]`.
    ///
    /// # Errors
    /// [`Error::Data`] for arrays of another form or that do not fit each other or the model.
    pub fn arrays(&self, images: &Path, labels: &Path) -> Result<ArraysEvaluation> {
        let model = self.load()?;
        let [images_name, labels_name] = [images, labels].map(|path| path.display().to_string());
        let image_file = npy::read(images)?;
        let images = Array::parse(&images_name, &image_file)?.images()?;
        let label_file = npy::read(labels)?;
        let labels = Array::parse(&labels_name, &label_file)?.labels(model.classes())?;
        let count = images.len() / IMAGE_BYTES;
        if labels.len() != count {
            let found = format!("{} labels", labels.len());
            let expected = format!("{count}, as many as {images_name} has images");
            return Err(Error::data(labels_name, found, expected));
        }
        let used = labels
            .iter()
            .max()
            .map_or(0, |label| usize::from(*label) + 1);
        if used < model.classes() {
            log::warning(format_args!(
                "{labels_name}: the labels are 0 to {}, the model has {} classes",
                used - 1,
                model.classes()
            ));
        }
        let chosen = self.chosen(&labels, model.classes())?;
        let mut progress = Progress::new("eval", chosen.len() as u64);
        let image = |index: usize| {
            let pixels = &images[index * IMAGE_BYTES..][..IMAGE_BYTES];
            (planar(pixels), labels[index])
        };
        let correct = model.correct(&chosen, image, &mut progress, "")?;
        progress.finish();
        Ok(ArraysEvaluation {
            model: model.describe(),
            images: chosen.len() as u64,
            correct,
            accuracy: correct as f64 / chosen.len() as f64,
            warnings: log::warnings(),
        })
    }
}
