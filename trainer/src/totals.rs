//! Running sums over an epoch: means for the metrics, error rates per attack for the adaptive policy.

use serde::{Deserialize, Serialize};

use crate::{batch::TrainBatch, methods::StepMetrics, metrics::TrainMetrics};

/// Sums over the steps of an epoch so far; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Checkpoints have had this name since their first version.
    #[serde(rename = "pictures")]
    images: u64,
    loss: f64,
    cross_entropy: f64,
    smooth_l1: Option<f64>,
    detector_loss: Option<f64>,
    #[serde(rename = "right")]
    correct: u64,
    #[serde(rename = "detector_right")]
    detector_correct: Option<u64>,
    /// Draws per variant, this epoch.
    drawn: Vec<u64>,
    /// Draws and errors per variant, since the last redraw.
    recent: Vec<(u64, u64)>,
    /// Wall time of the epoch's steps before the run was stopped; left out where it was not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: f64,
}

fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl Totals {
    /// Adds a step; `variants` is one more than there are attacks.
    pub fn add(&mut self, batch: &TrainBatch, step_metrics: &StepMetrics, variants: usize) {
        self.drawn.resize(variants, 0);
        self.recent.resize(variants, (0, 0));
        let count = batch.labels.len() as f64;
        self.images += batch.labels.len() as u64;
        self.loss += count * step_metrics.loss;
        self.cross_entropy += count * step_metrics.cross_entropy;
        let sum = |sum: &mut Option<f64>, value: Option<f64>| {
            *sum = value.map(|value| sum.unwrap_or(0.0) + count * value);
        };
        sum(&mut self.smooth_l1, step_metrics.smooth_l1);
        sum(&mut self.detector_loss, step_metrics.detector_loss);
        let judged = step_metrics.predictions.iter().zip(&batch.labels);
        for ((class, label), &variant) in judged.zip(&batch.variants) {
            self.correct += u64::from(class == label);
            self.drawn[variant] += 1;
            self.recent[variant].0 += 1;
            self.recent[variant].1 += u64::from(class != label);
        }
        self.detector_correct = step_metrics.detected.as_ref().map(|detected| {
            let judged = detected.iter().zip(&batch.attacked);
            let right = judged.filter(|(class, attacked)| (**class == 1) == **attacked);
            self.detector_correct.unwrap_or(0) + right.count() as u64
        });
    }

    /// Means over the epoch's images.
    pub fn means(&self) -> TrainMetrics {
        let count = self.images.max(1) as f64;
        TrainMetrics {
            loss: self.loss / count,
            accuracy: self.correct as f64 / count,
            cross_entropy: self.cross_entropy / count,
            smooth_l1: self.smooth_l1.map(|sum| sum / count),
            detector_loss: self.detector_loss.map(|sum| sum / count),
            detector_accuracy: self.detector_correct.map(|right| right as f64 / count),
        }
    }

    /// Draws per variant in this epoch.
    pub fn drawn(&self) -> Vec<u64> {
        self.drawn.clone()
    }

    /// Error rates per attack since the last redraw, which this resets; NaN for an attack that was not drawn, none before
    /// the first step.
    pub fn take_error_rates(&mut self) -> Option<Vec<f64>> {
        let recent = std::mem::take(&mut self.recent);
        let rate = |&(drawn, wrong): &(u64, u64)| wrong as f64 / drawn as f64;
        (!recent.is_empty()).then(|| recent.iter().skip(1).map(rate).collect())
    }

    /// Starts an epoch; the error rates since the last redraw stay.
    pub fn next_epoch(&mut self) {
        *self = Self {
            recent: std::mem::take(&mut self.recent),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn means_and_error_rates_are_those_of_the_draws() {
        let batch = |labels: &[u8], variants: &[usize]| TrainBatch {
            images: Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap(),
            labels: labels.to_vec(),
            variants: variants.to_vec(),
            // The third image's sample equals its clean image.
            attacked: variants
                .iter()
                .enumerate()
                .map(|(i, v)| *v > 0 && i != 2)
                .collect(),
            ids: vec![0; labels.len()],
            rows: vec![0; labels.len()],
            windows: vec![nn::CropWindow::WHOLE; labels.len()],
            epoch: 0,
            step: 0,
            schedule_step: 0,
        };
        let step_metrics = |loss: f64, predictions: &[u8], detected: &[u8]| StepMetrics {
            loss,
            cross_entropy: loss,
            smooth_l1: Some(1.0),
            detector_loss: Some(2.0),
            predictions: predictions.to_vec(),
            detected: Some(detected.to_vec()),
        };
        let mut totals = Totals::default();
        let (first, second) = (batch(&[1, 2, 3], &[0, 1, 1]), batch(&[4], &[2]));
        totals.add(&first, &step_metrics(1.0, &[1, 2, 0], &[0, 1, 1]), 4);
        totals.add(&second, &step_metrics(5.0, &[0], &[1]), 4);
        let means = totals.means();
        assert_eq!((means.loss, means.accuracy), (2.0, 0.5));
        assert_eq!(
            (means.smooth_l1, means.detector_accuracy),
            (Some(1.0), Some(0.75))
        );
        assert_eq!(totals.drawn(), [1, 2, 1, 0]);
        totals.next_epoch();
        let errors = totals.take_error_rates().unwrap();
        assert_eq!((errors[0], errors[1], errors[2].is_nan()), (0.5, 1.0, true));
        assert_eq!(totals, Totals::default());
        assert_eq!(totals.take_error_rates(), None);
    }
}
