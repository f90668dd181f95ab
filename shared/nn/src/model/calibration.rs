//! Calibrated models for benchmarks: fresh weights that behave like trained ones.
//!
//! An untrained model takes all images for one class, which it hardly ever leaves; training one would take
//! minutes. So the running statistics of a fresh model are made those of its images, its logits are spread over
//! all classes, and most of its ReLUs stay on the side they are on near an image.

use candle_core::Tensor;

use super::{Architecture, Network, Weights};
use crate::ComputeDevice;
use base::Result;

/// Weight of a block's second norm.
const GAIN: f64 = 0.3;
/// Bias of every norm: a large one keeps ReLUs open.
const BIAS: f64 = 0.5;
/// Mean distance of the largest logit to the second largest.
const MARGIN: f64 = 2.0;

/// Weights of a fresh model, calibrated on `[B,3,32,32]` images on the same device.
pub fn calibrated(
    architecture: &Architecture,
    width: usize,
    classes: usize,
    images: &Tensor,
    device: &ComputeDevice,
) -> Result<Weights> {
    let fresh = architecture.init(width, classes, 0, device)?;
    let weights = with_statistics(architecture, fresh.as_ref(), images)?;
    with_spread_logits(architecture, &weights, images)
}

/// The weights with the norms set as above and with the images' running statistics.
fn with_statistics(
    architecture: &Architecture,
    fresh: &dyn Network,
    images: &Tensor,
) -> Result<Weights> {
    let head_bias = format!("{}.bias", architecture.head);
    let started = fresh.weights().frozen().map(|name, old| {
        Ok(if name.contains("running_") {
            old.zeros_like()?
        } else if name.ends_with("bn2.weight") {
            (old.ones_like()? * GAIN)?
        } else if name.ends_with(".bias") && name != head_bias {
            (old.ones_like()? * BIAS)?
        } else {
            old.clone()
        })
    })?;
    let network = architecture.load("the model", started)?;
    network.train(images)?;
    // One update moves the statistics from 0 a tenth of the way.
    network.weights().map(|name, old| {
        Ok(if name.contains("running_") {
            (old * 10.0)?
        } else {
            old.clone()
        })
    })
}

/// Shifts and scales the classes so that over the images each logit has mean 0 and the same deviation, and the
/// mean margin is [`MARGIN`].
fn with_spread_logits(
    architecture: &Architecture,
    weights: &Weights,
    images: &Tensor,
) -> Result<Weights> {
    let network = architecture.load("the model", weights.clone())?;
    let logits = network.eval()?.logits(images)?;
    let mean = logits.mean_keepdim(0)?;
    let centered = logits.broadcast_sub(&mean)?;
    let deviation = centered.sqr()?.mean_keepdim(0)?.sqrt()?;
    let rows: Vec<Vec<f32>> = centered.broadcast_div(&deviation)?.to_vec2()?;
    let margins = rows.iter().map(|row| top2_margin(row)).sum::<f64>();
    let scale = MARGIN * rows.len() as f64 / margins;
    let scales = (deviation.recip()?.flatten_all()? * scale)?;
    weights.map(|name, old| {
        Ok(match name.strip_prefix(architecture.head) {
            Some(".weight") => old.broadcast_mul(&scales.unsqueeze(1)?)?,
            Some(".bias") => ((old - mean.flatten_all()?)? * &scales)?,
            _ => old.clone(),
        })
    })
}

/// Distance of the largest logit to the second largest.
pub fn top2_margin(logits: &[f32]) -> f64 {
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    f64::from(sorted[0] - sorted[1])
}
