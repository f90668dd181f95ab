//! A token for the parameters of a residual stack: a tensor of one number that stands for all of them
//! among the arguments of the stack's operation, because candle's operations take at most three. Its own
//! value and gradient are meaningless; when candle's backward pass reaches it, it hands out the
//! parameters' gradients, which the layers have kept by then.

use std::sync::{Arc, Mutex};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor,
    backend::{BackendDevice, BackendStorage},
    bail,
};

use super::{
    locked,
    residual::{ConvBn, ConvBnTrain, ParameterGrads},
};

/// The token of all parameters of these layers.
pub fn parameter_token(layers: &[ConvBnTrain]) -> Result<Tensor> {
    let mut all: Option<Tensor> = None;
    for layer in layers {
        let ConvBn {
            filter,
            gamma,
            beta,
        } = &layer.parameters;
        let token = filter.weight.contiguous()?.apply_op3(
            gamma,
            beta,
            LayerToken(layer.gradients.clone()),
        )?;
        all = Some(match all {
            None => token,
            Some(all) => all.apply_op2(&token, JoinedTokens)?,
        });
    }
    match all {
        Some(all) => Ok(all),
        None => bail!("a residual stack without layers"),
    }
}

fn cpu_zero() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.0]), 1.into())
}

fn cuda_zero(like: &CudaStorage) -> Result<(CudaStorage, Shape)> {
    Ok((like.device().zeros_impl(&1.into(), DType::F32)?, 1.into()))
}

/// Stands for weight, gamma and beta of one layer.
struct LayerToken(Arc<Mutex<Option<ParameterGrads>>>);

impl CustomOp3 for LayerToken {
    fn name(&self) -> &'static str {
        "parameter-token"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(cpu_zero())
    }

    fn cuda_fwd(
        &self,
        weight: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda_zero(weight)
    }

    fn bwd(
        &self,
        _weight: &Tensor,
        _gamma: &Tensor,
        _beta: &Tensor,
        _token: &Tensor,
        _gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some([grad_weight, grad_gamma, grad_beta]) = locked(&self.0).take() else {
            bail!("parameters were differentiated before their layer")
        };
        Ok((Some(grad_weight), Some(grad_gamma), Some(grad_beta)))
    }
}

/// Stands for what two tokens stand for.
struct JoinedTokens;

impl CustomOp2 for JoinedTokens {
    fn name(&self) -> &'static str {
        "joined-parameter-tokens"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(cpu_zero())
    }

    fn cuda_fwd(
        &self,
        first: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda_zero(first)
    }

    fn bwd(
        &self,
        _first: &Tensor,
        _second: &Tensor,
        _joined: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(gradient.clone()), Some(gradient.clone())))
    }
}
