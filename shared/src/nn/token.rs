//! Operations on tokens `[B,N,D]`: linear maps, layer normalisation, attention, GELU. Composed
//! of candle operations that have gradients (its fused layer norm and softmax have none).

use candle_core::{D, Result, Tensor};

/// `x` `[…,I]` times the transpose of `weight` `[O,I]`, plus `bias` `[O]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let rows = x.elem_count() / shape[shape.len() - 1];
    let last = shape.len() - 1;
    shape[last] = weight.dim(0)?;
    x.reshape((rows, ()))?
        .matmul(&weight.t()?)?
        .broadcast_add(bias)?
        .reshape(shape)
}

/// Normalises the last dimension (Ba et al., 2016).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}

/// `x * Phi(x)`, exact (Hendrycks and Gimpel, 2016).
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// Scaled dot-product attention (Vaswani et al., 2017, section 3.2) of `qkv` `[B,N,3D]`, laid out
/// as query, key, value, each as `heads` parts: `[B,N,D]`.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, triple) = qkv.dims3()?;
    let size = triple / 3 / heads;
    let qkv = qkv
        .reshape((batch, tokens, 3, heads, size))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()?;
    let part = |index: usize| qkv.get(index);
    let query = (part(0)? * (size as f64).powf(-0.5))?;
    let scores = query.matmul(&part(1)?.transpose(2, 3)?)?;
    let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
    weights
        .matmul(&part(2)?)?
        .transpose(1, 2)?
        .reshape((batch, tokens, heads * size))
}
