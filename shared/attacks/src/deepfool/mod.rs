//! DeepFool, L2 (Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a simple and accurate method to
//! fool deep neural networks", 2016): steps across the nearest class boundary of the
//! linearized model until the prediction leaves the label.
//!
//! The algorithm of each image is torchattacks'; here a batch is one active set, which finished
//! images leave.

mod stacked;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    Attack, AttackBatch, AttackTraits, Perturbed, Preset,
    active_set::{ActiveSet, column, pick, select},
    gradient,
    logits::{self, LogitRow},
    padding::{PaddedModel, Padding},
    params::{RangeCheck, in_range, steps_in_range},
    preset::Parameters,
};
use base::Result;
use nn::model::{Classifier, Linearized};

/// `x <- clip(x + (1 + overshoot) * step_scale * |f'| / |w'|^2 * w'`), where `f'` and `w'` are the
/// difference to the label, in logit and gradient, of the class with the smallest `|f'| / |w'|`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepFool {
    /// The most steps an image takes.
    pub steps: u32,
    /// Overshoot beyond the boundary, as a fraction of the step, 0 to 10.
    pub overshoot: f64,
    /// Step size as a fraction of the distance to the boundary, 0 to 10; 1 in every preset.
    pub step_scale: f64,
}

impl Parameters for DeepFool {
    const TRAITS: AttackTraits = AttackTraits {
        skips_misclassified: true,
        needs_gradient: true,
        needs_style: false,
        takes_start: false,
        strong: true,
        adversarial: true,
    };

    fn preset(preset: Preset) -> Self {
        let (steps, overshoot) = match preset {
            Preset::Paper | Preset::Published => (5, 0.0),
            Preset::Standard => (50, 0.02),
        };
        Self {
            steps,
            overshoot,
            step_scale: 1.0,
        }
    }

    fn check(&self) -> RangeCheck {
        steps_in_range(self.steps)?;
        in_range("overshoot", self.overshoot, 0.0..=10.0)?;
        in_range("step_scale", self.step_scale, 0.0..=10.0)
    }
}

impl Attack for DeepFool {
    /// On the CPU the backward passes share one forward pass, whose activations are there, and numbers are read
    /// without a wait; elsewhere few passes and few reads count.
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        match batch.device() {
            Device::Cpu => self.perturb_on_host(model, batch),
            device => {
                let model = PaddedModel::new(model, Padding::new(batch.len(), device));
                stacked::perturb(self, &model, batch)
            }
        }
    }
}

impl DeepFool {
    fn perturb_on_host(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let mut images = batch.images().clone();
        let mut taken = vec![0; batch.len()];
        let mut active = ActiveSet::new(batch.len());
        for _ in 0..self.steps {
            let (ids, labels) = (active.gather(batch.ids()), active.gather(batch.labels()));
            let mut linearized = model.linearized(&images)?;
            let mut rows = logits::rows(linearized.logits(), &ids, &labels)?;
            let fooled: Vec<bool> = std::iter::zip(&rows, &labels)
                .map(|(row, &label)| logits::argmax(row) != label)
                .collect();
            let mut positions: Vec<usize> = (0..rows.len()).collect();
            if let Some(kept) = active.retire(&fooled, &images)? {
                images = select(&images, &kept)?;
                rows = pick(&rows, &kept);
                positions = kept;
            }
            if active.is_empty() {
                break;
            }

            let (ids, labels) = (active.gather(batch.ids()), active.gather(batch.labels()));
            let boundaries =
                nearest_boundaries(&mut *linearized, &positions, &rows, (&ids, &labels))?;
            // Where the gradients of all classes are zero there is no direction to step in.
            let stuck: Vec<bool> = boundaries.ratio.iter().map(Option::is_none).collect();
            let length = (1.0 + self.overshoot) * self.step_scale;
            let scale = boundaries
                .ratio
                .iter()
                .map(|ratio| (length * ratio.unwrap_or(0.0)) as f32)
                .collect();
            let scale = column(scale, images.device())?;
            images = (images + boundaries.normal.broadcast_mul(&scale)?)?.clamp(0f32, 1f32)?;
            for (&row, stuck) in active.rows().iter().zip(&stuck) {
                taken[row] += u32::from(!stuck);
            }
            if let Some(kept) = active.retire(&stuck, &images)? {
                images = select(&images, &kept)?;
            }
            if active.is_empty() {
                break;
            }
        }
        Ok(Perturbed {
            images: active.into_batch_order(&images)?,
            steps: taken,
        })
    }
}

/// For each image the nearest class boundary of the linearized model.
struct Boundaries {
    /// `w'`, `[B,3,32,32]`.
    normal: Tensor,
    /// `|f'| / |w'|^2`; none where every `w'` is zero.
    ratio: Vec<Option<f64>>,
}

/// The boundaries of the images at these positions of a linearized batch: one backward pass for
/// each class other than the label.
fn nearest_boundaries(
    linearized: &mut dyn Linearized,
    positions: &[usize],
    rows: &[LogitRow],
    (ids, labels): (&[u64], &[u8]),
) -> Result<Boundaries> {
    let device = linearized.logits().device().clone();
    let classes = linearized.logits().dim(1)?;
    let normals = linearized.vjp(positions, &class_grads(labels, classes, &device)?)?;
    let mut nearest = vec![None; ids.len()];
    for (nth, normal) in normals.iter().enumerate() {
        gradient::check_finite(normal, ids)?;
        let squares = normal.sqr()?.flatten_from(1)?.sum(1)?.to_vec1::<f32>()?;
        for (i, &square) in squares.iter().enumerate() {
            let difference = rows[i][nth_other(labels[i], nth)] - rows[i][usize::from(labels[i])];
            let (difference, square) = (f64::from(difference.abs()), f64::from(square));
            let distance = difference / square.sqrt();
            let nearer = nearest[i].is_none_or(|(best, _, _)| distance < best);
            if square > 0.0 && nearer {
                nearest[i] = Some((distance, nth, difference / square));
            }
        }
    }
    let chosen: Vec<usize> = nearest
        .iter()
        .enumerate()
        .map(|(i, nearest)| nearest.map_or(0, |(_, nth, _)| nth) * ids.len() + i)
        .collect();
    Ok(Boundaries {
        normal: select(&Tensor::cat(&normals, 0)?, &chosen)?,
        ratio: nearest
            .iter()
            .map(|nearest| nearest.map(|(_, _, ratio)| ratio))
            .collect(),
    })
}

/// For each class other than the label, in order, the gradient in the logits of its logit minus the label's,
/// `[B,classes]`.
fn class_grads(labels: &[u8], classes: usize, device: &Device) -> Result<Vec<Tensor>> {
    let grads = (0..classes - 1).map(|nth| {
        let entries = |&label: &u8| [(nth_other(label, nth), 1.0), (usize::from(label), -1.0)];
        let entries: Vec<_> = labels.iter().map(entries).collect();
        logits::sparse_grad(&entries, classes, device)
    });
    grads.collect()
}

/// The `nth` of the classes other than the label.
fn nth_other(label: u8, nth: usize) -> usize {
    nth + usize::from(nth >= usize::from(label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AttackConfig,
        tests::model::{TestBatch, TestModel, random_images},
    };

    #[test]
    fn deepfool_by_stacked_passes_is_deepfool_on_the_host() {
        let model = TestModel::mlp(4);
        let constant = TestModel::constant(&[0.0; 10]);
        for preset in Preset::ALL {
            let deepfool = AttackConfig::preset(preset).deepfool;
            // Images that end at different steps, so that passes have one class and several.
            for (model, images) in [(&model, 7), (&constant, 2)] {
                let test = TestBatch::of(model, random_images(images));
                let host = deepfool.perturb(model, &test.batch()).unwrap();
                let stacked = stacked::perturb(&deepfool, model, &test.batch()).unwrap();
                assert_eq!(stacked.steps, host.steps);
                let change = (stacked.images - &host.images).unwrap().abs().unwrap();
                let largest = change.max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(largest < 1e-5, "{largest}");
            }
        }
    }
}
