//! Transformer sublayers composed of candle's operations: the reference of the tests.

use candle_core::{D, Result, Tensor};

use super::SublayerWeights;
use crate::ops::{
    dropout::{DropoutMask, dropout},
    linear::{layer_norm, linear},
};

impl SublayerWeights {
    fn normed(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.norm[0], &self.norm[1], self.eps)
    }

    fn first_linear(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.first[0], &self.first[1], self.options)
    }

    /// `x` plus the second linear map of `inner`.
    fn second_linear(
        &self,
        x: &Tensor,
        inner: &Tensor,
        outer: Option<DropoutMask>,
    ) -> Result<Tensor> {
        let y = linear(inner, &self.second[0], &self.second[1], self.options)?;
        x + dropout(&y, outer)?
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
    dropout(&x, mask)
}

pub fn attention_sublayer(
    x: &Tensor,
    weights: &SublayerWeights,
    heads: usize,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let qkv = weights.first_linear(&weights.normed(x)?)?.chunk(3, 2)?;
    let context = attention(&qkv[0], &qkv[1], &qkv[2], heads)?;
    weights.second_linear(x, &context, mask)
}

pub fn cls_attention_sublayer(
    x: &Tensor,
    weights: &SublayerWeights,
    heads: usize,
    mask: Option<DropoutMask>,
) -> Result<Tensor> {
    let normed = weights.normed(x)?;
    let width = normed.dim(2)?;
    let map = |x: &Tensor, part: usize| {
        let [weight, bias] = &weights.first;
        let weight = weight.narrow(0, part * width, width)?;
        linear(
            x,
            &weight,
            &bias.narrow(0, part * width, width)?,
            weights.options,
        )
    };
    let query = map(&normed.narrow(1, 0, 1)?, 0)?;
    let context = attention(&query, &map(&normed, 1)?, &map(&normed, 2)?, heads)?;
    weights.second_linear(&x.narrow(1, 0, 1)?, &context, mask)
}

pub fn feed_forward_sublayer(
    x: &Tensor,
    weights: &SublayerWeights,
    [inner, outer]: [Option<DropoutMask>; 2],
) -> Result<Tensor> {
    let inner_tokens = weights.first_linear(&weights.normed(x)?)?;
    weights.second_linear(x, &dropout(&inner_tokens.gelu_erf()?, inner)?, outer)
}

/// Scaled dot-product attention (Vaswani et al., 2017, section 3.2) of `query` `[B,M,D]` to `key`
/// and `value` `[B,N,D]`, each as `heads` parts: `[B,M,D]`.
fn attention(query: &Tensor, key: &Tensor, value: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, queries, width) = query.dims3()?;
    let head_dim = width / heads;
    let parts = |x: &Tensor| {
        x.reshape((batch, (), heads, head_dim))?
            .transpose(1, 2)?
            .contiguous()
    };
    let query = (parts(query)? * (head_dim as f64).powf(-0.5))?;
    let scores = query.matmul(&parts(key)?.transpose(2, 3)?)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?
        .matmul(&parts(value)?)?
        .transpose(1, 2)?
        .reshape((batch, queries, width))
}
