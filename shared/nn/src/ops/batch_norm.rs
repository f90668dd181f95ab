//! Batch normalization (Ioffe and Szegedy, 2015) of NHWC feature maps, with the statistics of the batch
//! (training mode) or with constants (evaluation mode).

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

use super::{
    cpu_slices::{as_f32, tensor_like, with_f32},
    locked,
};
use crate::cuda;
use kernels::batch_norm::{self, BatchNormParams as ChannelParams};

/// Added to the variance; PyTorch's default.
pub const EPS: f64 = 1e-5;

/// Constants of a batch norm in evaluation mode, all `[C]`.
#[derive(Clone, Debug)]
pub struct BatchNormParams {
    /// Factor.
    pub gamma: Tensor,
    /// Shift.
    pub beta: Tensor,
    /// Mean, which is subtracted.
    pub mean: Tensor,
    /// Variance; the divisor is `sqrt(variance + 1e-5)`.
    pub variance: Tensor,
}

/// Mean and variance of a batch norm in evaluation mode, `[C]` f32. A pass in training mode moves them towards
/// those of its batch, in place; momentum 0.1 and the unbiased variance, as in PyTorch.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// Mean.
    pub mean: Tensor,
    /// Variance.
    pub variance: Tensor,
}

impl RunningStatistics {
    /// Moves them towards the mean and biased variance of a batch of `count` elements a channel, on the CPU.
    pub(super) fn update(&self, mean: Tensor, variance: &Tensor, count: usize) -> Result<()> {
        let count = count as f64;
        let unbiased = (variance * (count / (count - 1.0).max(1.0)))?;
        for (running, new) in [(&self.mean, mean), (&self.variance, unbiased)] {
            let moved = ((running * 0.9)? + (new * 0.1)?)?;
            running.slice_set(&moved, 0, 0)?;
        }
        Ok(())
    }
}

/// Normalizes `x` `[B,H,W,C]` with the batch's own mean and biased variance, times `gamma`, plus `beta`
/// (both `[C]`); differentiable in all three. Moves the running statistics.
pub fn batch_norm_train(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    running: &RunningStatistics,
) -> Result<Tensor> {
    let channels = x.dims4()?.3;
    let sizes = [gamma, beta, &running.mean, &running.variance].map(Tensor::dims1);
    if sizes.into_iter().collect::<Result<Vec<_>>>()? != [channels; 4] || x.elem_count() == 0 {
        bail!("batch norm of {x:?} with gamma {gamma:?}, beta {beta:?} and {running:?}")
    }
    let op = BatchNormTrain {
        running: running.clone(),
        norm: Mutex::default(),
    };
    x.contiguous()?
        .apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)
}

/// Normalizes `x` `[B,H,W,C]` by constants; differentiable in `x` alone.
pub fn batch_norm_eval(x: &Tensor, norm: &BatchNormParams) -> Result<Tensor> {
    let channels = x.dims4()?.3;
    let BatchNormParams {
        gamma,
        beta,
        mean,
        variance,
    } = norm;
    if [gamma, beta, mean, variance].map(Tensor::elem_count) != [channels; 4] {
        bail!("batch norm of {x:?} with {norm:?}")
    }
    let inverse = (variance.to_dtype(DType::F64)? + EPS)?.sqrt()?.recip()?;
    let constant = |tensor: &Tensor| -> Result<Tensor> {
        Ok(tensor.to_dtype(DType::F32)?.contiguous()?.detach())
    };
    let op = BatchNormEval {
        mean: constant(mean)?,
        inverse: constant(&inverse)?,
        gamma: constant(gamma)?,
        beta: constant(beta)?,
    };
    x.contiguous()?.apply_op1(op)
}

/// [`batch_norm_train`] as an operation on `x`, gamma and beta; applied once.
struct BatchNormTrain {
    running: RunningStatistics,
    /// `[C]` means and `1 / sqrt(variance + eps)` of the forward pass.
    norm: Mutex<Option<[Tensor; 2]>>,
}

impl BatchNormTrain {
    fn keep(&self, norm: [Tensor; 2]) {
        *locked(&self.norm) = Some(norm);
    }
}

impl CustomOp3 for BatchNormTrain {
    fn name(&self) -> &'static str {
        "batch-norm-train"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gamma) = (as_f32(x, x_layout)?, as_f32(gamma, gamma_layout)?);
        let moments = batch_norm::moments(gamma.len(), x);
        let inverse = |(_, variance): &(f64, f64)| (1.0 / (variance + EPS).sqrt()) as f32;
        let norm = ChannelParams {
            mean: moments.iter().map(|(mean, _)| *mean as f32).collect(),
            inv_std: moments.iter().map(inverse).collect(),
            gamma: gamma.to_vec(),
            beta: as_f32(beta, beta_layout)?.to_vec(),
        };
        let variance: Vec<f32> = moments.iter().map(|(_, v)| *v as f32).collect();
        let y = batch_norm::forward(&norm, x, None, false);
        let of_cpu = |values: Vec<f32>| Tensor::new(values, &candle_core::Device::Cpu);
        let mean = of_cpu(norm.mean)?;
        let count = x.len() / gamma.len();
        self.running
            .update(mean.clone(), &of_cpu(variance)?, count)?;
        self.keep([mean, of_cpu(norm.inv_std)?]);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gamma: &CudaStorage,
        gamma_layout: &Layout,
        beta: &CudaStorage,
        beta_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let parameters = [(gamma, gamma_layout), (beta, beta_layout)];
        let (y, norm) = cuda::batch_norm_train((x, x_layout), parameters, EPS, &self.running)?;
        self.keep(norm);
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some([mean, inverse]) = locked(&self.norm).clone() else {
            bail!("batch norm was differentiated before it was computed")
        };
        let (grad_x, [grad_gamma, grad_beta]) = if x.device().is_cpu() {
            let norm = ChannelParams {
                mean: mean.to_vec1()?,
                inv_std: inverse.to_vec1()?,
                gamma: gamma.to_vec1()?,
                beta: beta.to_vec1()?,
            };
            with_f32([x, gradient], |[x_values, gradient]| {
                let sums = batch_norm::parameter_gradients(&norm, x_values, gradient);
                let grad_x = batch_norm::input_gradient(&norm, x_values, gradient, &sums);
                let parameters = [
                    tensor_like(gamma, sums.gamma)?,
                    tensor_like(beta, sums.beta)?,
                ];
                Ok((tensor_like(x, grad_x)?, parameters))
            })?
        } else {
            cuda::batch_norm_backward(x, [&mean, &inverse, gamma], gradient)?
        };
        Ok((Some(grad_x), Some(grad_gamma), Some(grad_beta)))
    }
}

/// `(x - mean) * inverse * gamma + beta`, all `[C]`.
struct BatchNormEval {
    mean: Tensor,
    inverse: Tensor,
    gamma: Tensor,
    beta: Tensor,
}

impl CustomOp1 for BatchNormEval {
    fn name(&self) -> &'static str {
        "batch-norm-eval"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let norm = ChannelParams {
            mean: self.mean.to_vec1()?,
            inv_std: self.inverse.to_vec1()?,
            gamma: self.gamma.to_vec1()?,
            beta: self.beta.to_vec1()?,
        };
        let y = batch_norm::forward(&norm, as_f32(x, layout)?, None, false);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let channels = [&self.mean, &self.inverse, &self.gamma, &self.beta];
        let y = cuda::batch_norm_eval((x, layout), channels)?;
        Ok((y, layout.shape().clone()))
    }

    /// The gradient passes through the same map without its constants.
    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let linear = Self {
            mean: self.mean.zeros_like()?,
            inverse: self.inverse.clone(),
            gamma: self.gamma.clone(),
            beta: self.beta.zeros_like()?,
        };
        gradient.contiguous()?.apply_op1(linear).map(Some)
    }
}
