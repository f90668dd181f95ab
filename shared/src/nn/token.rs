//! Operations on tokens `[B,N,D]`: linear maps, layer normalisation, attention, GELU. On the CPU
//! the row-wise ones are kernels of ours with gradients (candle's fused ones have none); on CUDA
//! all is composed of candle's operations.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

use super::{
    cpu::{
        attend::{self, Heads},
        rows,
    },
    host::{floats, with_floats},
};

/// `x` `[…,I]` times the transpose of `weight` `[O,I]`, plus `bias` `[O]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    shape.push(outputs);
    x.reshape(((), inputs))?
        .matmul(&weight.t()?)?
        .broadcast_add(bias)?
        .reshape(shape)
}

/// Normalises the last dimension (Ba et al., 2016).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x
            .contiguous()?
            .apply_op3(weight, bias, LayerNorm(eps as f32));
    }
    stock_layer_norm(x, weight, bias, eps)
}

/// `x Phi(x)`, exact (Hendrycks and Gimpel, 2016).
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(Gelu);
    }
    x.gelu_erf()
}

/// Scaled dot-product attention (Vaswani et al., 2017, section 3.2) of `qkv` `[B,N,3D]`, laid out
/// as query, key, value, each as `heads` parts: `[B,N,D]`.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, tokens, triple) = qkv.dims3()?;
    if heads == 0 || tokens == 0 || !triple.is_multiple_of(3 * heads) {
        bail!("attention of {:?} with {heads} heads", qkv.shape())
    }
    if qkv.device().is_cpu() {
        return qkv.contiguous()?.apply_op1(Attention(Heads {
            tokens,
            heads,
            size: triple / 3 / heads,
        }));
    }
    stock_attention(qkv, heads)
}

/// [`attention`] from candle's operations, for CUDA and as a reference for tests.
pub(super) fn stock_attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, triple) = qkv.dims3()?;
    let size = triple / 3 / heads;
    let qkv = qkv
        .reshape((batch, tokens, 3, heads, size))?
        .permute((2, 0, 3, 1, 4))?
        .contiguous()?;
    let query = (qkv.get(0)? * (size as f64).powf(-0.5))?;
    let scores = query.matmul(&qkv.get(1)?.transpose(2, 3)?)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?
        .matmul(&qkv.get(2)?)?
        .transpose(1, 2)?
        .reshape((batch, tokens, heads * size))
}

/// [`layer_norm`] from candle's operations, for CUDA and as a reference for tests.
pub(super) fn stock_layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}

fn row_size(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1).max(1)
}

struct Attention(Heads);

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, _) = layout.shape().dims3()?;
        let mixed = attend::forward(self.0, floats(qkv, layout)?);
        Ok((
            CpuStorage::F32(mixed),
            (batch, tokens, self.0.width()).into(),
        ))
    }

    fn bwd(&self, qkv: &Tensor, _mixed: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_qkv = with_floats([qkv, gradient], |[x, g]| Ok(attend::gradient(self.0, x, g)))?;
        Tensor::from_vec(of_qkv, qkv.shape(), qkv.device()).map(Some)
    }
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = rows::gelu(floats(x, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_x = with_floats([x, gradient], |[x, g]| Ok(rows::gelu_gradient(x, g)))?;
        Tensor::from_vec(of_x, x.shape(), x.device()).map(Some)
    }
}

/// Holds eps.
struct LayerNorm(f32);

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, bias) = (floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        let y = rows::layer_norm(
            row_size(x_layout),
            self.0,
            floats(x, x_layout)?,
            weight,
            bias,
        );
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = row_size(x.layout());
        let (of_x, of_weight, of_bias) = with_floats([x, weight, gradient], |[x, weight, g]| {
            Ok(rows::layer_norm_gradient(size, self.0, x, weight, g))
        })?;
        Ok((
            Some(Tensor::from_vec(of_x, x.shape(), x.device())?),
            Some(Tensor::from_vec(of_weight, size, x.device())?),
            Some(Tensor::from_vec(of_bias, size, x.device())?),
        ))
    }
}
