//! Iterated signed-gradient ascent in an Linf ball: the loop of which FGSM, BIM and PGD are presets, and the inner
//! loop of adversarial training.
//!
//! Random start, step size and projection are its parameters, as in Foolbox's base class of
//! gradient descent attacks.

use candle_core::{D, Tensor};
use rayon::prelude::*;

use super::{
    AttackBatch, Perturbed,
    gradient::{self, FiniteCheck},
    logits,
};
use base::{
    Result,
    random::{key, uniform_at},
};
use data::IMAGE_BYTES;
use nn::model::Classifier;

/// `x <- clip(x + step / channel_scale * sign(gradient of the cross entropy))`; the sign of 0 is
/// 0, and `clip` projects onto the `eps` ball around the clean image and onto `[0,1]`.
pub struct SignedGradient {
    /// Radius of the Linf ball; 1 bounds nothing.
    pub eps: f64,
    /// Step size in `[0,1]` units.
    pub step: f64,
    /// Number of such steps.
    pub steps: u32,
    /// Divisors of the step size in R, G and B.
    pub channel_scale: [f64; 3],
    /// Size of one more step before the others, not divided; 0 for none.
    pub first_step: f64,
    /// Purpose of the random numbers of a start that is uniform in the ball; none to start at the
    /// clean image.
    pub random_start: Option<&'static str>,
}

impl Default for SignedGradient {
    /// One step of size 0 from the clean image, unbounded.
    fn default() -> Self {
        Self {
            eps: 1.0,
            step: 0.0,
            steps: 1,
            channel_scale: [1.0; 3],
            first_step: 0.0,
            random_start: None,
        }
    }
}

impl SignedGradient {
    /// Takes all steps on the cross entropy; the last iterate is the result. They begin at the batch's given
    /// start, at a random point, or at the clean image.
    pub fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let clean = batch.images();
        let start = match (batch.start(), self.random_start) {
            (Some(start), _) => start.clone(),
            (None, Some(purpose)) => {
                let key = |&id: &u64| key(batch.seed(), purpose, &[id]);
                let keys: Vec<u64> = batch.ids().iter().map(key).collect();
                (clean + uniform_noise(clean, self.eps, &keys)?)?
            }
            (None, None) => clean.clone(),
        };
        let ascended = self.ascend(clean, start, &|images| {
            cross_entropy_gradient(model, images, batch.labels(), batch.ids())
        })?;
        ascended.finite.finish(gradient::GRADIENT, batch.ids())?;
        Ok(Perturbed {
            images: ascended.images,
            steps: vec![self.steps + u32::from(self.first_step > 0.0); batch.len()],
        })
    }

    /// Takes all steps from `start`, projected onto the ball around `clean`, along the sign of what `gradient` gives
    /// for an iterate; all `[B,3,32,32]`.
    pub fn ascend(
        &self,
        clean: &Tensor,
        start: Tensor,
        gradient: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Ascended> {
        let low = (clean - self.eps)?.maximum(0f32)?;
        let high = (clean + self.eps)?.minimum(1f32)?;
        let project = |images: Tensor| images.maximum(&low)?.minimum(&high);
        let mut steps = Vec::with_capacity(self.steps as usize + 1);
        if self.first_step > 0.0 {
            steps.push(channel_step(self.first_step, &[1.0; 3], clean)?);
        }
        let step = channel_step(self.step, &self.channel_scale, clean)?;
        steps.resize(steps.len() + self.steps as usize, step);

        let mut images = project(start)?;
        let mut finite = FiniteCheck::default();
        for step in &steps {
            let gradient = gradient(&images)?;
            finite.add(&gradient)?;
            images = project((images + gradient.sign()?.broadcast_mul(step)?)?)?;
        }
        Ok(Ascended { images, finite })
    }
}

/// The last iterate of an ascent.
pub struct Ascended {
    /// `[B,3,32,32]`.
    pub images: Tensor,
    /// Whether all gradients were finite: the sign of one that is not is some number.
    pub finite: FiniteCheck,
}

/// d sum of cross entropies / d pixels at `images`, of their shape; perhaps not finite. `labels` and `ids` are the
/// images'.
///
/// # Errors
/// [`base::Error::Data`] for a label that is no class.
pub fn cross_entropy_gradient(
    model: &dyn Classifier,
    images: &Tensor,
    labels: &[u8],
    ids: &[u64],
) -> Result<Tensor> {
    differentiate(model, images, |logits| {
        cross_entropy_grad(logits, labels, ids)
    })
}

/// The same of the sum of Kullback-Leibler divergences of the softmax at `images` from the probabilities
/// `expected`, `[B,classes]`.
pub fn divergence_gradient(
    model: &dyn Classifier,
    images: &Tensor,
    expected: &Tensor,
) -> Result<Tensor> {
    differentiate(model, images, |logits| {
        Ok((candle_nn::ops::softmax(logits, D::Minus1)? - expected)?)
    })
}

/// The gradient in the pixels of a loss with this gradient in the logits.
fn differentiate(
    model: &dyn Classifier,
    images: &Tensor,
    grad_logits: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let pixels = gradient::variable(images)?;
    let logits = model.logits(&pixels)?;
    let grad_logits = grad_logits(&logits.detach())?;
    gradient::unchecked_vjp(&pixels, &logits, &grad_logits)
}

/// `step / channel_scale`, `[1,3,1,1]`.
fn channel_step(step: f64, channel_scale: &[f64; 3], like: &Tensor) -> Result<Tensor> {
    let steps = channel_scale.map(|scale| (step / scale) as f32);
    Ok(Tensor::new(&steps, like.device())?.reshape((1, 3, 1, 1))?)
}

/// Uniform numbers in `[-eps, eps)` of the shape of `images`, from a key for each image.
pub fn uniform_noise(images: &Tensor, eps: f64, keys: &[u64]) -> Result<Tensor> {
    noise(images, keys, |key, i| {
        eps * (2.0 * f64::from(uniform_at(key, i)) - 1.0)
    })
}

/// Numbers of the shape of `images`: `value(key, i)` for the i-th of the image that has this key.
pub fn noise(
    images: &Tensor,
    keys: &[u64],
    value: impl Fn(u64, u64) -> f64 + Sync,
) -> Result<Tensor> {
    let mut noise = vec![0f32; keys.len() * IMAGE_BYTES];
    noise
        .par_chunks_exact_mut(IMAGE_BYTES)
        .zip(keys)
        .for_each(|(noise, &key)| {
            for (number, i) in noise.iter_mut().zip(0..) {
                *number = value(key, i) as f32;
            }
        });
    Ok(Tensor::from_vec(noise, images.dims(), images.device())?)
}

/// d sum of cross entropies / d logits = softmax - one-hot, `[B,classes]`.
fn cross_entropy_grad(logits: &Tensor, labels: &[u8], ids: &[u64]) -> Result<Tensor> {
    let classes = logits::check(logits, ids, labels)?;
    let mut one_hot = vec![0f32; labels.len() * classes];
    for (row, &label) in one_hot.chunks_exact_mut(classes).zip(labels) {
        row[usize::from(label)] = 1.0;
    }
    let one_hot = Tensor::from_vec(one_hot, logits.dims(), logits.device())?;
    let softmax = candle_nn::ops::softmax(logits, D::Minus1)?;
    // The label's entry as minus the sum of the others: 1 - p loses everything as p nears 1.
    let others = (softmax * (1.0 - &one_hot)?)?;
    let at_label = one_hot.broadcast_mul(&others.sum_keepdim(1)?)?;
    Ok((others - at_label)?)
}
