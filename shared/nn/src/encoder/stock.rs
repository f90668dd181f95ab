//! The halves of layers from candle's operations, for CUDA and as a reference for tests: tokens
//! come in, tokens go out, as in the module above.

use candle_core::{Result, Tensor};

use super::{
    super::{
        dropout::{DropoutMask, drop},
        token,
    },
    SublayerWeights,
};

impl SublayerWeights {
    fn normed(&self, x: &Tensor) -> Result<Tensor> {
        token::layer_norm(x, &self.norm[0], &self.norm[1], self.eps)
    }

    /// `x`, plus what the second map makes of `inner`.
    fn ended(&self, x: &Tensor, inner: &Tensor, outer: Option<DropoutMask>) -> Result<Tensor> {
        let y = token::linear(inner, &self.second[0], &self.second[1])?;
        x + drop(&y, outer)?
    }
}

pub fn embed(
    x: &Tensor,
    class: &Tensor,
    positions: &Tensor,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let (batch, _, width) = x.dims3()?;
    let class = class.broadcast_as((batch, 1, width))?;
    let x = Tensor::cat(&[&class, x], 1)?.broadcast_add(positions)?;
    drop(&x, mask)
}

pub fn attention_half(
    x: &Tensor,
    half: &SublayerWeights,
    heads: usize,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let qkv = token::linear(&half.normed(x)?, &half.first[0], &half.first[1])?.chunk(3, 2)?;
    let mixed = token::attention(&qkv[0], &qkv[1], &qkv[2], heads)?;
    half.ended(x, &mixed, mask)
}

pub fn class_attention_half(
    x: &Tensor,
    half: &SublayerWeights,
    heads: usize,
    mask: Option<DropoutMask>,
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
    half: &SublayerWeights,
    [inner, outer]: [Option<DropoutMask>; 2],
) -> Result<Tensor> {
    let lifted = token::linear(&half.normed(x)?, &half.first[0], &half.first[1])?;
    half.ended(x, &drop(&lifted.gelu_erf()?, inner)?, outer)
}
