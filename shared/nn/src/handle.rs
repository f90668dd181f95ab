//! What stands for a chain's parameters among the arguments of candle's operations: layers that will
//! keep their gradients come in, a tensor of one number goes out, through which candle's walk back passes.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, DType, backend::BackendDevice, cuda_backend::CudaDevice};

use super::learning::{ConvBn, Gradients, Learner};

/// Stands for all parameters among the arguments of a chain, since candle's operations have three
/// at most: a tensor of one number, whose own gradient means nothing but makes the walk back pass by; the
/// parameters' gradients are those that the layers kept.
pub(super) fn handle(learners: &[Learner]) -> Result<Tensor> {
    let mut all: Option<Tensor> = None;
    for learner in learners {
        let ConvBn {
            filter,
            gamma,
            beta,
        } = &learner.parameters;
        let handle = filter.weight.contiguous()?.apply_op3(
            gamma,
            beta,
            Handle(learner.gradients.clone()),
        )?;
        all = Some(match all {
            None => handle,
            Some(all) => all.apply_op2(&handle, Both)?,
        });
    }
    match all {
        Some(all) => Ok(all),
        None => bail!("nothing to learn"),
    }
}

/// A number that means nothing.
fn nothing() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.0]), 1.into())
}

#[cfg(feature = "cuda")]
fn nothing_on(device: &CudaDevice) -> Result<(CudaStorage, Shape)> {
    Ok((device.zeros_impl(&1.into(), DType::F32)?, 1.into()))
}

/// Stands for weight, gamma and beta of one layer.
struct Handle(Arc<Mutex<Option<Gradients>>>);

impl CustomOp3 for Handle {
    fn name(&self) -> &'static str {
        "parameters"
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
        Ok(nothing())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        weight: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        nothing_on(&weight.device)
    }

    fn bwd(
        &self,
        _weight: &Tensor,
        _gamma: &Tensor,
        _beta: &Tensor,
        _handle: &Tensor,
        _gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some([of_weight, of_gamma, of_beta]) = gradients.take() else {
            bail!("parameters were differentiated before their layer")
        };
        Ok((Some(of_weight), Some(of_gamma), Some(of_beta)))
    }
}

/// Stands for what two handles stand for.
struct Both;

impl CustomOp2 for Both {
    fn name(&self) -> &'static str {
        "both-parameters"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(nothing())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        first: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        nothing_on(&first.device)
    }

    fn bwd(
        &self,
        _first: &Tensor,
        _second: &Tensor,
        _both: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(gradient.clone()), Some(gradient.clone())))
    }
}
