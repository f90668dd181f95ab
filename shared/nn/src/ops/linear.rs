//! Linear layer, layer norm and matrix product on tokens `[…,D]`, composed of candle's operations.

use candle_core::{D, DType, Result, Tensor};

use crate::{ComputeOptions, Precision};

/// `x` `[…,I]` times the transpose of `weight` `[O,I]`, plus `bias` `[O]`.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    options: ComputeOptions,
) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(outputs);
    matmul(&x.reshape(((), inputs))?, &weight.t()?, options)?
        .broadcast_add(bias)?
        .reshape(shape)
}

/// A matrix product of f32, its factors cut to bf16 where that is the precision.
pub fn matmul(a: &Tensor, b: &Tensor, options: ComputeOptions) -> Result<Tensor> {
    if a.device().is_cpu() || options.precision != Precision::Bf16 {
        return a.matmul(b);
    }
    let cut = |factor: &Tensor| factor.to_dtype(DType::BF16);
    cut(a)?.matmul(&cut(b)?)?.to_dtype(DType::F32)
}

/// Normalizes the last dimension (Ba et al., 2016).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}
