//! Linear layer, layer norm and matrix product on tokens `[…,D]`, composed of candle's operations; on CUDA the linear
//! layer is one operation, whose gradients are not cleared and added inside.

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
/// the weight is a variable. The gradients of weight and bias are handed over.
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
        bail!("the CPU has no kernel of the linear layer: it is composed of candle's operations")
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
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}
