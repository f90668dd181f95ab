//! Reference implementations from candle's own operations.

use candle_core::{Result, Tensor};

use super::EPS;
use crate::{Conv2d, ConvBn, ResidualLayer};

/// A convolution without bias.
pub fn conv2d(x: &Tensor, filter: &Conv2d) -> Result<Tensor> {
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    x.conv2d(&filter.weight, filter.padding, filter.stride, 1, 1)?
        .permute((0, 2, 3, 1))?
        .contiguous()
}

/// A transposed convolution without bias or padding.
pub fn conv_transpose2d(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    x.conv_transpose2d(weight, 0, 0, stride, 1)?
        .permute((0, 2, 3, 1))?
        .contiguous()
}

/// A layer in training mode.
fn conv_bn_train(
    layer: &ConvBn,
    x: &Tensor,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let x = conv2d(x, &layer.filter)?;
    let over = |t: &Tensor| t.mean_keepdim(0)?.mean_keepdim(1)?.mean_keepdim(2);
    let mean = over(&x)?;
    let centered = x.broadcast_sub(&mean)?;
    let variance = over(&centered.sqr()?)?;
    let mut y = centered
        .broadcast_div(&(&variance + EPS)?.sqrt()?)?
        .broadcast_mul(&layer.gamma)?
        .broadcast_add(&layer.beta)?;
    if let Some(residual) = residual {
        y = (y + residual)?;
    }
    let count = (x.elem_count() / x.dim(3)?) as f64;
    let unbiased = (variance * (count / (count - 1.0)))?;
    for (running, new) in [
        (&layer.running.mean, mean),
        (&layer.running.variance, unbiased),
    ] {
        let new = new.flatten_all()?.detach();
        running.slice_set(&((running * 0.9)? + (new * 0.1)?)?, 0, 0)?;
    }
    if relu { y.relu() } else { Ok(y) }
}

/// A residual stack in training mode.
pub fn residual_train(x: &Tensor, stack: &[ResidualLayer<ConvBn>]) -> Result<Tensor> {
    residual_stack(x, stack, &mut conv_bn_train)
}

/// Applies a layer: (layer, x, residual, relu).
type Apply<'a, L> = &'a mut dyn FnMut(&L, &Tensor, Option<&Tensor>, bool) -> Result<Tensor>;

/// A residual stack, layer by layer in the order of [`ResidualLayer::layers`].
pub fn residual_stack<L>(
    x: &Tensor,
    stack: &[ResidualLayer<L>],
    apply: Apply<L>,
) -> Result<Tensor> {
    let mut x = x.clone();
    for part in stack {
        x = match part {
            ResidualLayer::Plain(layer) => apply(layer, &x, None, true)?,
            ResidualLayer::Block {
                first,
                second,
                shortcut,
            } => {
                let inner = apply(first, &x, None, true)?;
                let beside = match shortcut {
                    None => x,
                    Some(shortcut) => apply(shortcut, &x, None, false)?,
                };
                apply(second, &inner, Some(&beside), true)?
            }
        };
    }
    Ok(x)
}
