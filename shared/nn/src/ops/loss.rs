//! Losses: mean cross entropy and mean Smooth L1.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::log_softmax;

/// Mean cross entropy of logits `[B,classes]` and labels `[B]` (u32).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    log_softmax(logits, D::Minus1)?
        .gather(&labels.unsqueeze(1)?, 1)?
        .mean_all()?
        .neg()
}

/// Mean Smooth L1 distance with beta 1 (Girshick, "Fast R-CNN", 2015, eq. 3):
/// `d^2 / 2` where `|d| < 1`, else `|d| - 1/2`.
pub fn smooth_l1(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let distance = (prediction - target)?.abs()?;
    // With m = min(|d|, 1) both branches are m * (|d| - m / 2).
    let near = distance.minimum(1.0)?;
    (&near * (&distance - (&near * 0.5)?)?)?.mean_all()
}
