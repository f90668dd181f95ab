//! Operations on tokens, `[…,D]`, of candle's own: linear maps, layer normalization, attention.
//! The detector's few last tokens pass through them, and, where there are no kernels of ours, all.

use candle_core::{D, DType, Result, Tensor};

use super::arithmetic::{ComputeOptions, Precision};

/// `x` `[…,I]` times the transpose of `weight` `[O,I]`, plus `bias` `[O]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(outputs);
    product(&x.reshape(((), inputs))?, &weight.t()?)?
        .broadcast_add(bias)?
        .reshape(shape)
}

/// A matrix product of f32, its factors cut to bf16 where that is the precision.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.device().is_cpu() || ComputeOptions::chosen().precision != Precision::Bf16 {
        return a.matmul(b);
    }
    let cut = |factor: &Tensor| factor.to_dtype(DType::BF16);
    cut(a)?.matmul(&cut(b)?)?.to_dtype(DType::F32)
}

/// Normalizes the last dimension (Ba et al., 2016).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centerd = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centerd.sqr()?.mean_keepdim(D::Minus1)?;
    centerd
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}

/// Scaled dot-product attention (Vaswani et al., 2017, section 3.2) of `query` `[B,M,D]` to `key`
/// and `value` `[B,N,D]`, each as `heads` parts: `[B,M,D]`.
pub(super) fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
) -> Result<Tensor> {
    let (batch, asking, width) = query.dims3()?;
    let size = width / heads;
    let parts = |x: &Tensor| {
        x.reshape((batch, (), heads, size))?
            .transpose(1, 2)?
            .contiguous()
    };
    let query = (parts(query)? * (size as f64).powf(-0.5))?;
    let scores = product(&query, &parts(key)?.transpose(2, 3)?)?;
    product(
        &candle_nn::ops::softmax(&scores, D::Minus1)?,
        &parts(value)?,
    )?
    .transpose(1, 2)?
    .reshape((batch, asking, width))
}
