//! What FGSM and BIM share: the sign of the cross entropy's gradient, and a step per channel.

use candle_core::{D, Tensor};

use super::{AttackBatch, gradient};
use base::{Error, Result};
use data::CLASSES;
use nn::model::Classifier;

/// The sign of d sum of cross entropies / d pixels at `images`: -1, 0 or 1, of their shape.
pub fn of_gradient(net: &dyn Classifier, images: &Tensor, batch: &AttackBatch) -> Result<Tensor> {
    let pixels = gradient::variable(images)?;
    let logits = net.logits(&pixels)?;
    let slope = cross_entropy_slope(&logits.detach(), batch.labels)?;
    Ok(gradient::pull_back(&pixels, &logits, &slope, batch.ids)?.sign()?)
}

/// `step / channel_scale`, `[1,3,1,1]`.
pub fn channel_step(step: f64, channel_scale: &[f64; 3], like: &Tensor) -> Result<Tensor> {
    let steps = channel_scale.map(|scale| (step / scale) as f32);
    Ok(Tensor::new(&steps, like.device())?.reshape((1, 3, 1, 1))?)
}

/// d sum of cross entropies / d logits = softmax - one-hot, `[B,10]`.
fn cross_entropy_slope(logits: &Tensor, labels: &[u8]) -> Result<Tensor> {
    if logits.dims() != [labels.len(), CLASSES] {
        let expected = format!("{:?}", [labels.len(), CLASSES]);
        return Err(Error::data(
            "logits",
            format!("{:?}", logits.dims()),
            expected,
        ));
    }
    let mut one_hot = vec![0f32; labels.len() * CLASSES];
    for (row, &label) in one_hot.chunks_exact_mut(CLASSES).zip(labels) {
        row[usize::from(label)] = 1.0;
    }
    let one_hot = Tensor::from_vec(one_hot, logits.dims(), logits.device())?;
    let softmax = candle_nn::ops::softmax(logits, D::Minus1)?;
    // The label's entry as minus the sum of the others: 1 - p loses everything as p nears 1.
    let others = (softmax * (1.0 - &one_hot)?)?;
    let at_label = one_hot.broadcast_mul(&others.sum_keepdim(1)?)?;
    Ok((others - at_label)?)
}
