//! Linear layer and layer norm on tokens `[…,D]`, composed of candle's operations; on CUDA each is one operation, inside
//! which no gradients are cleared and added, and which hands over those of its weights.

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail,
};

use super::{gradients::hand_over, locked};
use crate::{ComputeOptions, Precision, cuda};

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
    let x = x.reshape(((), inputs))?;
    let y = if x.device().is_cuda() {
        CudaLinear::apply(&x.contiguous()?, weight, bias, options)?
    } else {
        x.matmul(&weight.t()?)?.broadcast_add(bias)?
    };
    y.reshape(shape)
}

/// A factor of a matrix product: cut to bf16 where that is the precision. The product has the same type.
pub fn cut(factor: &Tensor, options: ComputeOptions) -> Result<Tensor> {
    if factor.device().is_cpu() || options.precision != Precision::Bf16 {
        return Ok(factor.clone());
    }
    factor.to_dtype(DType::BF16)
}

/// A linear layer of rows `[N,I]` as an operation on them and on the weight, which makes candle differentiate it where
/// the weight is a variable.
struct CudaLinear {
    weight: Tensor,
    bias: Tensor,
    options: ComputeOptions,
    /// The result without the bias, until the result is there.
    product: Mutex<Option<Tensor>>,
}

impl CudaLinear {
    fn apply(
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        options: ComputeOptions,
    ) -> Result<Tensor> {
        let factor = |factor: &Tensor| cut(&factor.detach(), options);
        let product = factor(x)?.matmul(&factor(weight)?.t()?)?;
        let op = Self {
            weight: weight.clone(),
            bias: bias.clone(),
            options,
            product: Mutex::new(Some(product)),
        };
        x.apply_op2(&weight.contiguous()?, op)
    }
}

impl CustomOp2 for CudaLinear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("on the CPU the linear layer is composed of candle's operations")
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let Some(product) = locked(&self.product).take() else {
            bail!("a linear layer was computed twice")
        };
        let y = cuda::row_ops::add_bias(&product, &self.bias)?;
        Ok((y, product.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = |factor: &Tensor| cut(&factor.detach(), self.options);
        let sums = gradient.detach().contiguous()?;
        let gradient = factor(&sums)?;
        let grad_x = || gradient.matmul(&factor(weight)?)?.to_dtype(DType::F32);
        let grad_x = x.track_op().then(grad_x).transpose()?;
        if self.weight.track_op() {
            let grad_weight = gradient.t()?.matmul(&factor(x)?)?;
            hand_over(&self.weight, grad_weight.to_dtype(DType::F32)?)?;
        }
        if self.bias.track_op() {
            hand_over(&self.bias, cuda::row_ops::column_sums(&sums, None)?.0)?;
        }
        Ok((grad_x, None))
    }
}

/// Normalizes the last dimension (Ba et al., 2016).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if x.device().is_cuda() {
        return CudaLayerNorm::apply(&x.contiguous()?, weight, bias, eps);
    }
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}

/// A layer norm as an operation on tokens and its weight; as [`CudaLinear`].
struct CudaLayerNorm {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl CudaLayerNorm {
    fn apply(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
        let op = Self {
            x: x.detach(),
            weight: weight.clone(),
            bias: bias.clone(),
            eps,
        };
        x.apply_op2(weight, op)
    }
}

impl CustomOp2 for CudaLayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("on the CPU this layer norm is composed of candle's operations")
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let y = cuda::row_ops::layer_norm_f32(&self.x, &self.weight, &self.bias, self.eps)?;
        Ok((y, self.x.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.detach().contiguous()?;
        let (grad_x, normalized) =
            cuda::row_ops::layer_norm_backward(&self.x, &weight.detach(), self.eps, &gradient)?;
        if self.weight.track_op() {
            let (grad_bias, grad_weight) =
                cuda::row_ops::column_sums(&gradient, Some(&normalized))?;
            hand_over(&self.bias, grad_bias)?;
            if let Some(gradient) = grad_weight {
                hand_over(&self.weight, gradient)?;
            }
        }
        Ok((x.track_op().then_some(grad_x), None))
    }
}
