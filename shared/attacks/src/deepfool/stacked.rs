//! DeepFool on a device that computes apart from the host: the gradients of several classes in one pass, of a batch
//! that is repeated for each, and one wait per step: for the logits, which say which images are done.

use candle_core::{DType, Tensor};

use super::{DeepFool, class_grads};
use crate::{
    AttackBatch, Perturbed,
    active_set::{ActiveSet, select, where_mask},
    gradient::{self, FiniteCheck},
    logits,
};
use base::Result;
use nn::model::Classifier;

/// As on the host but for rounding. A pass has at most as many images as the batch.
pub fn perturb(
    attack: &DeepFool,
    model: &dyn Classifier,
    batch: &AttackBatch,
) -> Result<Perturbed> {
    let mut images = batch.images().clone();
    let mut taken = vec![0; batch.len()];
    let mut active = ActiveSet::new(batch.len());
    let mut last: Option<Step> = None;
    for _ in 0..attack.steps {
        let (ids, labels) = (active.gather(batch.ids()), active.gather(batch.labels()));
        let mut linearized = model.linearized(&images)?;
        let rows = logits::rows(linearized.logits(), &ids, &labels)?;
        let mut done: Vec<bool> = std::iter::zip(&rows, &labels)
            .map(|(row, &label)| logits::argmax(row) != label)
            .collect();
        if let Some(last) = last.take() {
            let stuck = last.stuck(&active, batch, &mut taken)?;
            done.iter_mut()
                .zip(stuck)
                .for_each(|(done, stuck)| *done |= stuck);
        }
        let mut positions: Vec<usize> = (0..rows.len()).collect();
        if let Some(kept) = active.retire(&done, &images)? {
            images = select(&images, &kept)?;
            positions = kept;
        }
        if active.is_empty() {
            break;
        }

        let labels = active.gather(batch.labels());
        let seen = select(&linearized.logits().detach(), &positions)?;
        let grads = class_grads(&labels, seen.dim(1)?, seen.device())?;
        let normals = match batch.len() / labels.len() {
            0 | 1 => linearized.vjp(&positions, &grads)?,
            classes_at_once => {
                // Its graph is not needed.
                drop(linearized);
                stacked_vjp(model, &images, &grads, classes_at_once)?
            }
        };
        let step = Step::to_nearest_boundary(attack, &seen, &grads, &normals)?;
        images = (images + &step.change)?.clamp(0f32, 1f32)?;
        last = Some(step);
    }
    if let Some(last) = last {
        last.stuck(&active, batch, &mut taken)?;
    }
    Ok(Perturbed {
        images: active.into_batch_order(&images)?,
        steps: taken,
    })
}

/// The gradients `[B,3,32,32]` in the pixels of `images` for each of `grads` `[B,classes]` in their logits, by passes
/// of so many of them at once.
fn stacked_vjp(
    model: &dyn Classifier,
    images: &Tensor,
    grads: &[Tensor],
    at_once: usize,
) -> Result<Vec<Tensor>> {
    let mut all = Vec::with_capacity(grads.len());
    for grads in grads.chunks(at_once) {
        let stacked = images.repeat((grads.len(), 1, 1, 1))?;
        let rows: Vec<usize> = (0..stacked.dim(0)?).collect();
        let mut linearized = model.linearized(&stacked)?;
        for gradient in linearized.vjp(&rows, &[Tensor::cat(grads, 0)?])? {
            all.extend(gradient.chunk(grads.len(), 0)?);
        }
    }
    Ok(all)
}

/// A step of the active images.
struct Step {
    /// `[B,3,32,32]`, to be added to the images.
    change: Tensor,
    /// `[B]` u8: 1 where the gradients of all classes are zero, so that there is no direction to step in.
    stuck: Tensor,
    finite: FiniteCheck,
}

impl Step {
    /// The step across the nearest class boundary of the linearized model: `logits` `[B,classes]`, and for each of
    /// `grads`, differences of two of them, its gradient in the pixels.
    fn to_nearest_boundary(
        attack: &DeepFool,
        logits: &Tensor,
        grads: &[Tensor],
        normals: &[Tensor],
    ) -> Result<Self> {
        let (size, device) = (logits.dim(0)?, logits.device());
        let length = (1.0 + attack.overshoot) * attack.step_scale;
        let mut finite = FiniteCheck::default();
        let mut nearest = Tensor::full(f32::INFINITY, size, device)?;
        let mut scale = Tensor::zeros(size, DType::F32, device)?;
        let mut chosen = normals[0].zeros_like()?;
        for (grad, normal) in grads.iter().zip(normals) {
            finite.add(normal)?;
            let square = normal.sqr()?.flatten_from(1)?.sum(1)?;
            let difference = (logits * grad)?.sum(1)?.abs()?;
            let distance = (&difference / square.sqrt()?)?;
            // False for a zero gradient, whose distance is infinite or NaN: its class is never the nearest.
            let nearer = distance.lt(&nearest)?;
            nearest = nearer.where_cond(&distance, &nearest)?;
            scale = nearer.where_cond(&((difference / square)? * length)?, &scale)?;
            chosen = where_mask(&nearer, normal, &chosen)?;
        }
        let column = scale.reshape((size, 1, 1, 1))?;
        Ok(Self {
            change: chosen.broadcast_mul(&column)?,
            stuck: nearest.eq(f32::INFINITY)?,
            finite,
        })
    }

    /// Which of the active images are stuck; counts the step of the others.
    ///
    /// # Errors
    /// [`base::Error::NonFinite`] for a gradient that is not finite.
    fn stuck(
        &self,
        active: &ActiveSet,
        batch: &AttackBatch,
        taken: &mut [u32],
    ) -> Result<Vec<bool>> {
        let ids = active.gather(batch.ids());
        self.finite.finish(gradient::GRADIENT, &ids)?;
        let stuck = self.stuck.to_vec1::<u8>()?;
        for (&row, &stuck) in active.rows().iter().zip(&stuck) {
            taken[row] += u32::from(stuck == 0);
        }
        Ok(stuck.into_iter().map(|stuck| stuck != 0).collect())
    }
}
