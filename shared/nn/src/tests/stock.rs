//! What the kernels replace, from candle's own operations.

use candle_core::{Result, Tensor};

use super::super::{BatchStats, Conv2d, ConvBn, ResidualLayer, learning::EPS};

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

/// A layer that learns.
fn learning_layer(
    layer: &ConvBn,
    x: &Tensor,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<(Tensor, BatchStats)> {
    let x = conv2d(x, &layer.filter)?;
    let over = |t: &Tensor| t.mean_keepdim(0)?.mean_keepdim(1)?.mean_keepdim(2);
    let mean = over(&x)?;
    let centerd = x.broadcast_sub(&mean)?;
    let variance = over(&centerd.sqr()?)?;
    let mut y = centerd
        .broadcast_div(&(&variance + EPS)?.sqrt()?)?
        .broadcast_mul(&layer.gamma)?
        .broadcast_add(&layer.beta)?;
    if let Some(residual) = residual {
        y = (y + residual)?;
    }
    let moments = BatchStats {
        mean: mean.flatten_all()?.detach(),
        variance: variance.flatten_all()?.detach(),
        count: x.elem_count() / x.dim(3)?,
    };
    Ok((if relu { y.relu()? } else { y }, moments))
}

/// A chain that learns.
pub fn learning_chain(
    x: &Tensor,
    links: &[ResidualLayer<ConvBn>],
) -> Result<(Tensor, Vec<BatchStats>)> {
    let mut moments = Vec::new();
    let y = chain(x, links, &mut |layer, x, residual, relu| {
        let (y, of_batch) = learning_layer(layer, x, residual, relu)?;
        moments.push(of_batch);
        Ok(y)
    })?;
    Ok((y, moments))
}

/// Applies a layer: (layer, x, residual, relu).
type Apply<'a, L> = &'a mut dyn FnMut(&L, &Tensor, Option<&Tensor>, bool) -> Result<Tensor>;

/// A chain, layer by layer in the order of [`Link::layers`].
pub fn chain<L>(x: &Tensor, links: &[ResidualLayer<L>], apply: Apply<L>) -> Result<Tensor> {
    let mut x = x.clone();
    for link in links {
        x = match link {
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
