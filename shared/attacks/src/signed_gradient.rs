//! Iterated signed-gradient ascent in an Linf ball: the loop of which FGSM and BIM are presets.
//!
//! Random start, step size and projection are its parameters, as in Foolbox's base class of
//! gradient descent attacks.

use candle_core::{D, Tensor};

use super::{AttackBatch, Perturbed, gradient, logits};
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
    /// Takes all steps; the last iterate is the result.
    pub fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let clean = batch.images();
        let low = (clean - self.eps)?.maximum(0f32)?;
        let high = (clean + self.eps)?.minimum(1f32)?;
        let project = |images: Tensor| images.maximum(&low)?.minimum(&high);
        let ascend = |images: &Tensor, step: &Tensor| -> Result<Tensor> {
            let sign = gradient_sign(model, images, batch)?;
            Ok(project((images + sign.broadcast_mul(step)?)?)?)
        };

        let mut images = match self.random_start {
            Some(purpose) => project((clean + uniform_noise(self.eps, purpose, batch)?)?)?,
            None => clean.clone(),
        };
        let mut taken = self.steps;
        if self.first_step > 0.0 {
            let step = channel_step(self.first_step, &[1.0; 3], clean)?;
            images = ascend(&images, &step)?;
            taken += 1;
        }
        let step = channel_step(self.step, &self.channel_scale, clean)?;
        for _ in 0..self.steps {
            images = ascend(&images, &step)?;
        }
        Ok(Perturbed {
            images,
            steps: vec![taken; batch.len()],
        })
    }
}

/// The sign of d sum of cross entropies / d pixels at `images`: -1, 0 or 1, of their shape.
pub fn gradient_sign(
    model: &dyn Classifier,
    images: &Tensor,
    batch: &AttackBatch,
) -> Result<Tensor> {
    let pixels = gradient::variable(images)?;
    let logits = model.logits(&pixels)?;
    let grad_logits = cross_entropy_grad(&logits.detach(), batch)?;
    Ok(gradient::vjp(&pixels, &logits, &grad_logits, batch.ids())?.sign()?)
}

/// `step / channel_scale`, `[1,3,1,1]`.
fn channel_step(step: f64, channel_scale: &[f64; 3], like: &Tensor) -> Result<Tensor> {
    let steps = channel_scale.map(|scale| (step / scale) as f32);
    Ok(Tensor::new(&steps, like.device())?.reshape((1, 3, 1, 1))?)
}

/// Uniform in `[-eps, eps)` for every pixel, keyed by (seed, purpose, image id).
fn uniform_noise(eps: f64, purpose: &str, batch: &AttackBatch) -> Result<Tensor> {
    let mut noise = Vec::with_capacity(batch.pixels().len());
    for &id in batch.ids() {
        let key = key(batch.seed(), purpose, &[id]);
        let pixel = |i: usize| eps * (2.0 * f64::from(uniform_at(key, i as u64)) - 1.0);
        noise.extend((0..IMAGE_BYTES).map(|i| pixel(i) as f32));
    }
    Ok(Tensor::from_vec(
        noise,
        batch.images().dims(),
        batch.device(),
    )?)
}

/// d sum of cross entropies / d logits = softmax - one-hot, `[B,classes]`.
fn cross_entropy_grad(logits: &Tensor, batch: &AttackBatch) -> Result<Tensor> {
    let classes = logits::check(logits, batch.ids(), batch.labels())?;
    let mut one_hot = vec![0f32; batch.len() * classes];
    for (row, &label) in one_hot.chunks_exact_mut(classes).zip(batch.labels()) {
        row[usize::from(label)] = 1.0;
    }
    let one_hot = Tensor::from_vec(one_hot, logits.dims(), logits.device())?;
    let softmax = candle_nn::ops::softmax(logits, D::Minus1)?;
    // The label's entry as minus the sum of the others: 1 - p loses everything as p nears 1.
    let others = (softmax * (1.0 - &one_hot)?)?;
    let at_label = one_hot.broadcast_mul(&others.sum_keepdim(1)?)?;
    Ok((others - at_label)?)
}
