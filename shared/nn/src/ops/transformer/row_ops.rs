//! Row-wise operations of sublayers on tensors without a graph: kernels on CUDA, composed of candle's operations on the
//! CPU, where only tests compute sublayers so.

use candle_core::{CpuStorage, D, DType, Result, Storage, Tensor};

use super::Attended;
use crate::{
    ComputeOptions, cuda,
    ops::{
        dropout::{DropoutMask, dropout},
        linear,
    },
};

/// Layer norm of the last dimension, as a factor of a product.
pub fn layer_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    options: ComputeOptions,
) -> Result<Tensor> {
    if x.device().is_cuda() {
        return cuda::row_ops::layer_norm(x, gamma, beta, eps, options);
    }
    linear::layer_norm(x, gamma, beta, eps)
}

/// The gradient of layer norm's input, and the normalized input.
pub fn layer_norm_backward(
    x: &Tensor,
    gamma: &Tensor,
    eps: f64,
    gradient: &Tensor,
) -> Result<(Tensor, Tensor)> {
    if x.device().is_cuda() {
        return cuda::row_ops::layer_norm_backward(x, gamma, eps, gradient);
    }
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centered.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let normalized = centered.broadcast_div(&deviation)?;
    let gradient = gradient.broadcast_mul(gamma)?;
    let mean = gradient.mean_keepdim(D::Minus1)?;
    let product = (&gradient * &normalized)?.mean_keepdim(D::Minus1)?;
    let grad_x = gradient
        .broadcast_sub(&mean)?
        .sub(&normalized.broadcast_mul(&product)?)?
        .broadcast_div(&deviation)?;
    Ok((grad_x, normalized))
}

/// Attention in one kernel, of queries `[1,B,H,M,S]` to keys and values `[2,B,H,N,S]`: on CUDA in bf16, where cuDNN has a
/// plan for it.
pub fn attention(
    query: &Tensor,
    key_value: &Tensor,
    scale: f64,
    options: ComputeOptions,
) -> Result<Option<Attended>> {
    if query.device().is_cuda() && query.dtype() == DType::BF16 {
        return cuda::attention(query, key_value, scale, options);
    }
    Ok(None)
}

/// The gradients of queries, and of keys and values, from that of the context, where [`attention`] is one kernel and its
/// gradient is another.
pub fn attention_backward(
    query: &Tensor,
    key_value: &Tensor,
    attended: &Attended,
    gradient: &Tensor,
    scale: f64,
    options: ComputeOptions,
) -> Result<Option<[Tensor; 2]>> {
    match attended.stats {
        Some(_) => cuda::attention_backward(query, key_value, attended, gradient, scale, options),
        None => Ok(None),
    }
}

/// The softmax of `scale * x` over the last dimension; on CUDA in place of `x`.
pub fn softmax(x: Tensor, scale: f64) -> Result<Tensor> {
    if x.device().is_cuda() {
        cuda::row_ops::softmax(&x, scale)?;
        return Ok(x);
    }
    candle_nn::ops::softmax(&(x * scale)?, D::Minus1)
}

/// The gradient of softmax's `x` from that of its result `y`; on CUDA in place of `gradient`.
pub fn softmax_backward(y: &Tensor, gradient: Tensor, scale: f64) -> Result<Tensor> {
    if y.device().is_cuda() {
        cuda::row_ops::softmax_backward(y, &gradient, scale)?;
        return Ok(gradient);
    }
    let sum = (y * &gradient)?.sum_keepdim(D::Minus1)?;
    (y * gradient.broadcast_sub(&sum)?)? * scale
}

/// `drop(gelu(x + bias))`.
pub fn gelu_dropout(x: &Tensor, bias: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    if x.device().is_cuda() {
        return cuda::row_ops::gelu_dropout(x, bias, mask);
    }
    dropout(&x.broadcast_add(bias)?.gelu_erf()?, mask)
}

/// The gradient of `x` in [`gelu_dropout`] from that of its result; on CUDA in place of it.
pub fn gelu_dropout_backward(
    x: &Tensor,
    bias: &Tensor,
    mask: Option<DropoutMask>,
    gradient: Tensor,
) -> Result<Tensor> {
    if x.device().is_cuda() {
        cuda::row_ops::gelu_dropout_backward(x, bias, mask, &gradient)?;
        return Ok(gradient);
    }
    let x = x.broadcast_add(bias)?;
    let normal = ((&x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5;
    let density = ((x.sqr()? * -0.5)?.exp()? * (2.0 * std::f64::consts::PI).sqrt().recip())?;
    dropout(&gradient, mask)? * (normal? + (x * density)?)?
}

/// `residual + drop(x + bias)`.
pub fn residual_dropout(
    residual: &Tensor,
    x: &Tensor,
    bias: &Tensor,
    mask: Option<DropoutMask>,
) -> Result<Storage> {
    if x.device().is_cuda() {
        return cuda::row_ops::residual_dropout(residual, x, bias, mask).map(Storage::Cuda);
    }
    let y = (residual + dropout(&x.broadcast_add(bias)?, mask)?)?;
    Ok(Storage::Cpu(CpuStorage::F32(y.flatten_all()?.to_vec1()?)))
}

/// `[B,N,P*H*S]` plus `bias` `[P*H*S]`, if there is one, as `[P,B,H,N,S]`.
pub fn split_heads(x: &Tensor, bias: Option<&Tensor>, sizes: [usize; 2]) -> Result<Tensor> {
    if x.device().is_cuda() {
        return cuda::row_ops::split_heads(x, bias, sizes);
    }
    let [parts, heads] = sizes;
    let (batch, tokens, width) = x.dims3()?;
    let x = bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(bias))?;
    x.reshape((batch, tokens, parts, heads, width / (parts * heads)))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()
}

/// `[P,B,H,N,S]` as `[B,N,P*H*S]`.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cuda() {
        return cuda::row_ops::merge_heads(x);
    }
    let (parts, batch, heads, tokens, size) = x.dims5()?;
    x.permute((1, 3, 0, 2, 4))?
        .reshape((batch, tokens, parts * heads * size))
}

/// The sums over all rows of `x`, and of its products with `factor`, if there is one.
pub fn column_sums(x: &Tensor, factor: Option<&Tensor>) -> Result<(Tensor, Option<Tensor>)> {
    if x.device().is_cuda() {
        return cuda::row_ops::column_sums(x, factor);
    }
    let width = x.dim(D::Minus1)?;
    let sums = |x: &Tensor| x.reshape(((), width))?.sum(0);
    let products = factor.map(|factor| sums(&(x * factor)?));
    Ok((sums(x)?, products.transpose()?))
}
