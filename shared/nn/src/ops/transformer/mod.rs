//! Transformer sublayers (Vaswani et al., 2017, with the norm first) on tokens `[B,N,D]`. On the CPU each
//! is one operation with a kernel of its own; on CUDA it is one of matrix products and row-wise kernels.

use std::sync::Mutex;

use candle_core::{Result, Tensor, bail};

use super::{dropout::DropoutMask, gradients::hand_over};
use crate::ComputeOptions;
pub use by_parts::Attended;
use by_parts::{Part, PartWeights};
use kernels::{
    attention::AttentionShape,
    transformer::{
        AttentionSublayer, ClsAttentionSublayer, Embedding, FeedForwardSublayer, Sublayer,
        SublayerShape,
    },
};
use op::{EmbedOp, PartsOp, SublayerOp};

mod by_parts;
#[cfg(test)]
mod composed;
mod op;
mod row_ops;

/// The weights of a sublayer: a layer norm and two linear maps, as weight and bias each.
#[derive(Clone, Debug)]
pub struct SublayerWeights {
    /// `[D]` both.
    pub norm: [Tensor; 2],
    /// `[I,D]` and `[I]`: to queries, keys and values, or to the inner tokens.
    pub first: [Tensor; 2],
    /// `[D,J]` and `[D]`: from the mixed values, or from the inner tokens.
    pub second: [Tensor; 2],
    /// Of the layer norm.
    pub eps: f64,
    /// How it is computed.
    pub options: ComputeOptions,
}

impl SublayerWeights {
    fn sizes(&self) -> Result<SublayerShape> {
        let (hidden_dim, d_model) = self.first[0].dims2()?;
        let (out, inner_dim) = self.second[0].dims2()?;
        let sizes = SublayerShape {
            d_model,
            hidden_dim,
            inner_dim,
            eps: self.eps as f32,
        };
        if out != d_model || self.elements() != sizes.packed_len() {
            bail!("sublayer weights that do not fit together: {self:?}")
        }
        Ok(sizes)
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [&self.norm, &self.first, &self.second]
            .into_iter()
            .flatten()
    }

    fn elements(&self) -> usize {
        self.tensors().map(Tensor::elem_count).sum()
    }

    /// The weights without a graph.
    fn detached(&self) -> Self {
        let detached = |pair: &[Tensor; 2]| [pair[0].detach(), pair[1].detach()];
        Self {
            norm: detached(&self.norm),
            first: detached(&self.first),
            second: detached(&self.second),
            ..*self
        }
    }

    /// Whether the weights are to be differentiated: all are variables, or none is.
    fn tracked(&self) -> bool {
        self.norm[0].track_op()
    }

    /// Hands over the gradients of all weights, in the order of [`Self::tensors`].
    fn hand_over(&self, gradients: impl IntoIterator<Item = Tensor>) -> Result<()> {
        let mut pairs = std::iter::zip(self.tensors(), gradients);
        pairs
            .try_for_each(|(weight, gradient)| hand_over(weight, gradient.reshape(weight.shape())?))
    }

    /// Runs a kernel on the CPU.
    fn run<K: Sublayer>(&self, kernel: K, x: &Tensor) -> Result<Tensor> {
        let op = SublayerOp::new(kernel, self.clone(), x.track_op() || self.tracked());
        let flat = self.tensors().map(|weight| weight.detach().flatten_all());
        let packed = Tensor::cat(&flat.collect::<Result<Vec<_>>>()?, 0)?;
        x.contiguous()?.apply_op3(&packed, &self.norm[0], op)
    }

    /// Computes a sublayer by its parts, on CUDA.
    fn by_parts(&self, part: Part, x: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
        let (x, parts) = (x.contiguous()?, PartWeights::new(self)?);
        let detached = x.detach();
        let (added, saved) = parts.forward(part, &detached)?;
        let op = PartsOp {
            terms: Mutex::new(Some([part.queries(&detached)?, added])),
            weights: self.clone(),
            part,
            parts,
            mask,
            saved,
        };
        x.apply_op2(&self.norm[0], op)
    }
}

/// Puts `class` `[1,1,D]` before the tokens `x` `[B,N,D]`, adds `positions` `[1,N+1,D]`, and drops:
/// `[B,N+1,D]`.
pub fn embed(
    x: &Tensor,
    class: &Tensor,
    positions: &Tensor,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    if class.elem_count() != width || positions.elem_count() != (tokens + 1) * width {
        bail!("class token {class:?} and positions {positions:?} for {x:?}")
    }
    if x.elem_count() == 0 {
        bail!("an embedding of no tokens: {x:?}")
    }
    let kernel = Embedding {
        image_len: (tokens + 1) * width,
        d_model: width,
        dropout: mask,
    };
    let shape = (batch, tokens + 1, width);
    x.contiguous()?
        .apply_op3(class, positions, EmbedOp { kernel, shape })
}

/// `x + drop(second(attention(first(norm(x)))))`, with scaled dot-product attention among all
/// tokens of an image.
pub fn attention_sublayer(
    x: &Tensor,
    weights: &SublayerWeights,
    heads: usize,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let (sizes, heads) = attention_sizes(x, weights, heads)?;
    if !x.device().is_cpu() {
        return weights.by_parts(attention_part(heads, false), x, mask);
    }
    weights.run(
        AttentionSublayer {
            shape: sizes,
            attention: heads,
            dropout: mask,
        },
        x,
    )
}

/// The first token of [`attention_sublayer`] alone, `[B,1,D]`, in a fraction of the time.
pub fn cls_attention_sublayer(
    x: &Tensor,
    weights: &SublayerWeights,
    heads: usize,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let (sizes, heads) = attention_sizes(x, weights, heads)?;
    if !x.device().is_cpu() {
        return weights.by_parts(attention_part(heads, true), x, mask);
    }
    weights.run(
        ClsAttentionSublayer {
            shape: sizes,
            attention: heads,
            dropout: mask,
        },
        x,
    )
}

/// `x + drop(second(drop(gelu(first(norm(x))))))`, with the exact GELU (Hendrycks and Gimpel,
/// 2016); the masks are those of the inner and of the outer tokens.
pub fn feed_forward_sublayer(
    x: &Tensor,
    weights: &SublayerWeights,
    masks: [Option<DropoutMask>; 2],
) -> Result<Tensor> {
    let sizes = weights.sizes()?;
    if sizes.hidden_dim != sizes.inner_dim || x.dims3()?.2 != sizes.d_model || x.elem_count() == 0 {
        bail!("feed-forward sublayer of {x:?} with {weights:?}")
    }
    let [inner, outer] = masks;
    if !x.device().is_cpu() {
        return weights.by_parts(Part::FeedForward { inner }, x, outer);
    }
    weights.run(
        FeedForwardSublayer {
            shape: sizes,
            tokens: x.dims3()?.1,
            hidden_dropout: inner,
            dropout: outer,
        },
        x,
    )
}

fn attention_part(shape: AttentionShape, only_first: bool) -> Part {
    let heads = shape.heads;
    Part::Attention { heads, only_first }
}

fn attention_sizes(
    x: &Tensor,
    weights: &SublayerWeights,
    heads: usize,
) -> Result<(SublayerShape, AttentionShape)> {
    let (sizes, (batch, tokens, width)) = (weights.sizes()?, x.dims3()?);
    let fits = sizes.hidden_dim == 3 * width && sizes.inner_dim == width && sizes.d_model == width;
    if !fits || batch * tokens * heads == 0 || !width.is_multiple_of(heads) {
        bail!("attention sublayer of {x:?} by {heads} heads with {weights:?}")
    }
    let head_dim = width / heads;
    let heads = AttentionShape {
        tokens,
        heads,
        head_dim,
    };
    Ok((sizes, heads))
}

#[cfg(test)]
mod tests;
