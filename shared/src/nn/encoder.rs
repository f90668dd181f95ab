//! The halves of a Transformer's layers (Vaswani et al., 2017, with the norm first): tokens
//! `[B,N,D]` come in, tokens after half a layer go out. On the CPU each half is one operation, with
//! a kernel of ours; on CUDA all is composed of candle's operations.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    cpu::{
        attend::Heads,
        embed::Embed,
        encoder::{Attention, ClassAttention, FeedForward, Half, Sizes},
    },
    dropout::{Mask, drop},
    host::{floats, with_floats},
    token,
};

/// The weights of half a layer: a layer norm and two linear maps, as weight and bias each.
#[derive(Clone, Debug)]
pub struct HalfLayer {
    /// `[D]` both.
    pub norm: [Tensor; 2],
    /// `[I,D]` and `[I]`: to queries, keys and values, or to the inner tokens.
    pub first: [Tensor; 2],
    /// `[D,J]` and `[D]`: from the mixed values, or from the inner tokens.
    pub second: [Tensor; 2],
    /// Of the layer norm.
    pub eps: f64,
}

impl HalfLayer {
    fn sizes(&self) -> Result<Sizes> {
        let (raised, width) = self.first[0].dims2()?;
        let (out, lowered) = self.second[0].dims2()?;
        let sizes = Sizes {
            width,
            raised,
            lowered,
            eps: self.eps as f32,
        };
        if out != width || self.elements() != sizes.packed() {
            bail!("half a layer of weights that do not fit together: {self:?}")
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

    /// All weights in one row, so that an operation can differentiate them.
    fn packed(&self) -> Result<Tensor> {
        let flat = self.tensors().map(Tensor::flatten_all);
        Tensor::cat(&flat.collect::<Result<Vec<_>>>()?, 0)
    }

    fn normed(&self, x: &Tensor) -> Result<Tensor> {
        token::layer_norm(x, &self.norm[0], &self.norm[1], self.eps)
    }

    /// `x`, plus what the second map makes of `inner`.
    fn ended(&self, x: &Tensor, inner: &Tensor, outer: Option<Mask>) -> Result<Tensor> {
        let y = token::linear(inner, &self.second[0], &self.second[1])?;
        x + drop(&y, outer)?
    }

    /// Runs a kernel on the CPU.
    fn run<K: Half>(&self, kernel: K, x: &Tensor) -> Result<Tensor> {
        let (x, weights) = (x.contiguous()?, self.packed()?);
        let op = HalfOp {
            kernel,
            differentiable: x.track_op() || weights.track_op(),
            kept: OnceLock::new(),
        };
        x.apply_op2(&weights, op)
    }
}

/// Puts `class` `[1,1,D]` before the tokens `x` `[B,N,D]`, adds `positions` `[1,N+1,D]`, and drops:
/// `[B,N+1,D]`.
pub fn embed(x: &Tensor, class: &Tensor, positions: &Tensor, mask: Option<Mask>) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    if class.elem_count() != width || positions.elem_count() != (tokens + 1) * width {
        bail!("class token {class:?} and positions {positions:?} for {x:?}")
    }
    if !x.device().is_cpu() || x.elem_count() == 0 {
        return stock::embed(x, class, positions, mask);
    }
    let kernel = Embed {
        piece: (tokens + 1) * width,
        width,
        mask,
    };
    let shape = (batch, tokens + 1, width);
    x.contiguous()?
        .apply_op3(class, positions, EmbedOp { kernel, shape })
}

/// `x + drop(second(attention(first(norm(x)))))`, with scaled dot-product attention among all
/// tokens of a picture.
pub fn attention_half(
    x: &Tensor,
    half: &HalfLayer,
    heads: usize,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let (sizes, heads) = attention_sizes(x, half, heads)?;
    if !x.device().is_cpu() {
        return stock::attention_half(x, half, heads.heads, mask);
    }
    let outer = mask;
    half.run(
        Attention {
            sizes,
            heads,
            outer,
        },
        x,
    )
}

/// The first token of [`attention_half`] alone, `[B,1,D]`, in a fraction of the time.
pub fn class_attention_half(
    x: &Tensor,
    half: &HalfLayer,
    heads: usize,
    mask: Option<Mask>,
) -> Result<Tensor> {
    let (sizes, heads) = attention_sizes(x, half, heads)?;
    if !x.device().is_cpu() {
        return stock::class_attention_half(x, half, heads.heads, mask);
    }
    let outer = mask;
    half.run(
        ClassAttention {
            sizes,
            heads,
            outer,
        },
        x,
    )
}

/// `x + drop(second(drop(gelu(first(norm(x))))))`, with the exact GELU (Hendrycks and Gimpel,
/// 2016); the masks are those of the inner and of the outer tokens.
pub fn feed_forward_half(x: &Tensor, half: &HalfLayer, masks: [Option<Mask>; 2]) -> Result<Tensor> {
    let sizes = half.sizes()?;
    if sizes.raised != sizes.lowered || x.dims3()?.2 != sizes.width || x.elem_count() == 0 {
        bail!("feed-forward half of {x:?} with {half:?}")
    }
    if !x.device().is_cpu() {
        return stock::feed_forward_half(x, half, masks);
    }
    let [inner, outer] = masks;
    half.run(
        FeedForward {
            sizes,
            inner,
            outer,
        },
        x,
    )
}

fn attention_sizes(x: &Tensor, half: &HalfLayer, heads: usize) -> Result<(Sizes, Heads)> {
    let (sizes, (batch, tokens, width)) = (half.sizes()?, x.dims3()?);
    let fits = sizes.raised == 3 * width && sizes.lowered == width && sizes.width == width;
    if !fits || batch * tokens * heads == 0 || !width.is_multiple_of(heads) {
        bail!("attention half of {x:?} by {heads} heads with {half:?}")
    }
    let size = width / heads;
    let heads = Heads {
        tokens,
        heads,
        size,
    };
    Ok((sizes, heads))
}

/// A kernel as an operation on tokens and packed weights.
struct HalfOp<K: Half> {
    kernel: K,
    /// Whether a gradient can be asked for.
    differentiable: bool,
    /// What the kernel keeps for it.
    kept: OnceLock<K::Kept>,
}

impl<K: Half> CustomOp2 for HalfOp<K> {
    fn name(&self) -> &'static str {
        "half-layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, _, width) = x_layout.shape().dims3()?;
        let (x, weights) = (floats(x, x_layout)?, floats(weights, weights_layout)?);
        let (y, kept) = self.kernel.forward(x, weights, self.differentiable);
        self.kept.get_or_init(|| kept);
        let shape = (batch, y.len() / (batch * width), width);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(kept) = self.kept.get() else {
            bail!("a gradient of half a layer that was never computed")
        };
        let wanted = weights.track_op();
        let (of_x, of_weights) = with_floats([x, weights, gradient], |[x, weights, gradient]| {
            Ok(self.kernel.gradient(x, weights, kept, gradient, wanted))
        })?;
        let of_x = Tensor::from_vec(of_x, x.shape(), x.device())?;
        let of_weights =
            wanted.then(|| Tensor::from_vec(of_weights, weights.shape(), weights.device()));
        Ok((Some(of_x), of_weights.transpose()?))
    }
}

struct EmbedOp {
    kernel: Embed,
    shape: (usize, usize, usize),
}

impl CustomOp3 for EmbedOp {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        tokens: &CpuStorage,
        tokens_layout: &Layout,
        class: &CpuStorage,
        class_layout: &Layout,
        positions: &CpuStorage,
        positions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let tokens = floats(tokens, tokens_layout)?;
        let class = floats(class, class_layout)?;
        let positions = floats(positions, positions_layout)?;
        let y = self.kernel.forward(tokens, class, positions);
        Ok((CpuStorage::F32(y), self.shape.into()))
    }

    fn bwd(
        &self,
        tokens: &Tensor,
        class: &Tensor,
        positions: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        with_floats([gradient], |[gradient]| {
            let of_tokens = tokens.track_op().then(|| {
                let values = self.kernel.of_tokens(gradient);
                Tensor::from_vec(values, tokens.shape(), tokens.device())
            });
            if !class.track_op() && !positions.track_op() {
                return Ok((of_tokens.transpose()?, None, None));
            }
            let values = self.kernel.of_positions(gradient);
            let of_class = values[..self.kernel.width].to_vec();
            let of_class = Tensor::from_vec(of_class, class.shape(), class.device())?;
            let of_positions = Tensor::from_vec(values, positions.shape(), positions.device())?;
            Ok((of_tokens.transpose()?, Some(of_class), Some(of_positions)))
        })
    }
}

/// The same from candle's operations, for CUDA and as a reference for tests.
pub(super) mod stock {
    use super::*;

    pub fn embed(
        x: &Tensor,
        class: &Tensor,
        positions: &Tensor,
        mask: Option<Mask>,
    ) -> Result<Tensor> {
        let (batch, _, width) = x.dims3()?;
        let class = class.broadcast_as((batch, 1, width))?;
        let x = Tensor::cat(&[&class, x], 1)?.broadcast_add(positions)?;
        drop(&x, mask)
    }

    pub fn attention_half(
        x: &Tensor,
        half: &HalfLayer,
        heads: usize,
        mask: Option<Mask>,
    ) -> Result<Tensor> {
        let qkv = token::linear(&half.normed(x)?, &half.first[0], &half.first[1])?.chunk(3, 2)?;
        let mixed = token::attention(&qkv[0], &qkv[1], &qkv[2], heads)?;
        half.ended(x, &mixed, mask)
    }

    pub fn class_attention_half(
        x: &Tensor,
        half: &HalfLayer,
        heads: usize,
        mask: Option<Mask>,
    ) -> Result<Tensor> {
        let normal = half.normed(x)?;
        let width = normal.dim(2)?;
        let map = |x: &Tensor, part: usize| {
            let [weight, bias] = &half.first;
            let weight = weight.narrow(0, part * width, width)?;
            token::linear(x, &weight, &bias.narrow(0, part * width, width)?)
        };
        let query = map(&normal.narrow(1, 0, 1)?, 0)?;
        let mixed = token::attention(&query, &map(&normal, 1)?, &map(&normal, 2)?, heads)?;
        half.ended(&x.narrow(1, 0, 1)?, &mixed, mask)
    }

    pub fn feed_forward_half(
        x: &Tensor,
        half: &HalfLayer,
        [inner, outer]: [Option<Mask>; 2],
    ) -> Result<Tensor> {
        let lifted = token::linear(&half.normed(x)?, &half.first[0], &half.first[1])?;
        half.ended(x, &drop(&lifted.gelu_erf()?, inner)?, outer)
    }
}
