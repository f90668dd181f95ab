//! A classifier with a detector as one defense: it answers where the detector's score of the pretrained
//! model's feature maps is at most a threshold, and rejects the image elsewhere.

use attacks::{
    logits::{self, LogitRow},
    padding::unpad,
};
use base::{Error, Result};
use candle_core::{D, Tensor, Var};
use nn::model::{Classifier, Detector};

use crate::{Batch, Target, objective::Verdict, target::check_finite};

/// The attacked model, the pretrained model and the detector.
pub struct Defense<'a> {
    /// The classifier that answers.
    pub target: &'a Target<'a>,
    /// The model whose feature maps the detector sees.
    pub pretrained: &'a dyn Classifier,
    /// The detector.
    pub detector: &'a Detector,
    /// An image is accepted where its score is at most this.
    pub threshold: f32,
    /// All images under attack.
    pub batch: &'a Batch,
}

/// Values of some images with their gradients in the pixels (`B * 3072`).
pub struct WithGradient {
    /// One value for each image.
    pub values: Vec<f32>,
    /// d value / d pixels.
    pub gradient: Vec<f32>,
}

impl Defense<'_> {
    /// The detector's scores (adversarial minus clean logit) of pixels; ids name images in errors.
    pub fn scores(&self, ids: &[u64], pixels: &[f32]) -> Result<Vec<f32>> {
        let images = self.target.tensor(pixels)?;
        let scores = self.padded(&images, |maps| self.score(maps))?;
        finite(scores.to_vec1()?, ids)
    }

    /// The scores with their gradients.
    pub fn score_gradient(&self, rows: &[usize], pixels: &[f32]) -> Result<WithGradient> {
        self.differentiate(rows, pixels, |maps| self.score(maps))
    }

    /// For each image minus the mean squared distance of the pretrained model's feature maps to those of
    /// `guides` (`B * 3072` pixels), each map relative to the guide's own size; with gradients.
    pub fn similarity_gradient(
        &self,
        rows: &[usize],
        pixels: &[f32],
        guides: &[f32],
    ) -> Result<WithGradient> {
        let guides = self.target.tensor(guides)?;
        let guides = self.maps(&self.target.padding(rows.len()).pad(&guides)?)?;
        self.differentiate(rows, pixels, |maps| {
            let mut sum: Option<Tensor> = None;
            for (map, guide) in maps.iter().zip(&guides) {
                let guide = guide.detach();
                let size = (guide.sqr()?.flatten_from(1)?.mean(D::Minus1)? + 1e-12)?;
                let distance = (map - &guide)?.sqr()?.flatten_from(1)?.mean(D::Minus1)?;
                let part = (distance / size)?;
                sum = Some(match sum {
                    Some(sum) => (sum + part)?,
                    None => part,
                });
            }
            let sum =
                sum.ok_or_else(|| Error::data("the pretrained model", "no feature maps", "some"))?;
            Ok((sum / -(maps.len() as f64))?)
        })
    }

    /// The images' ids, labels.
    pub fn gather(&self, rows: &[usize]) -> (Vec<u64>, Vec<u8>) {
        let ids = rows.iter().map(|&row| self.batch.ids[row]);
        let labels = rows.iter().map(|&row| self.batch.labels[row]);
        (ids.collect(), labels.collect())
    }

    /// The verdicts of points with these logits, labels and scores.
    pub fn verdicts(&self, logits: &[LogitRow], labels: &[u8], scores: &[f32]) -> Vec<Verdict> {
        let points = logits.iter().zip(labels).zip(scores);
        let verdict = |((row, &label), &score): ((&LogitRow, &u8), &f32)| match logits::argmax(row)
        {
            class if class == label => Verdict::Correct,
            _ => Verdict::Misclassified { score },
        };
        points.map(verdict).collect()
    }

    /// Whether a point is misclassified and accepted.
    pub fn is_fooled(&self, verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Misclassified { score } if score <= self.threshold)
    }

    /// One value for each image, from the maps of a padded batch.
    fn padded(
        &self,
        images: &Tensor,
        value: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let size = images.dim(0)?;
        let padded = self.target.padding(size).pad(images)?;
        unpad(&value(&self.maps(&padded)?)?, size)
    }

    fn maps(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        Ok(self.pretrained.features(images)?.maps)
    }

    /// `[B]`.
    fn score(&self, maps: &[Tensor]) -> Result<Tensor> {
        let logits = self.detector.forward(maps, None)?.logits;
        let column = |index| logits.narrow(1, index, 1)?.squeeze(1);
        Ok((column(1)? - column(0)?)?)
    }

    fn differentiate(
        &self,
        rows: &[usize],
        pixels: &[f32],
        value: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<WithGradient> {
        let (ids, _) = self.gather(rows);
        let variable = Var::from_tensor(&self.target.tensor(pixels)?)?;
        let values = self.padded(&variable, value)?;
        let gradient = match values.sum_all()?.backward()?.remove(&variable) {
            Some(gradient) => gradient.detach().flatten_all()?.to_vec1::<f32>()?,
            // A detector may ignore its input.
            None => vec![0.0; pixels.len()],
        };
        check_finite(&gradient, &ids)?;
        Ok(WithGradient {
            values: finite(values.detach().to_vec1()?, &ids)?,
            gradient,
        })
    }
}

fn finite(values: Vec<f32>, ids: &[u64]) -> Result<Vec<f32>> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(i) => Err(Error::NonFinite(format!(
            "image {}: the detector's score is not finite",
            ids[i]
        ))),
    }
}
