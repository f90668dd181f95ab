//! Batch normalization (Ioffe and Szegedy, 2015) of NHWC feature maps, with the statistics of the batch
//! (training mode) or with constants (evaluation mode).

use std::sync::{Arc, Mutex};

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
    /// Variance; divided by is `sqrt(variance + 1e-5)`.
    pub variance: Tensor,
}

/// Statistics of a batch before its normalization, as constants.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// Mean of each channel, `[C]`.
    pub mean: Tensor,
    /// Biased variance, `[C]`.
    pub variance: Tensor,
    /// Elements of a channel.
    pub count: usize,
}

/// Normalizes `x` `[B,H,W,C]` with the batch's own mean and biased variance, times `gamma`, plus `beta`
/// (both `[C]`): the result, differentiable in all three, and the statistics, which are constants.
pub fn batch_norm_train(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, BatchStats)> {
    let (images, height, width, channels) = x.dims4()?;
    let count = images * height * width;
    if [gamma.dims1()?, beta.dims1()?] != [channels; 2] || x.elem_count() == 0 {
        bail!("batch norm of {x:?} with gamma {gamma:?} and beta {beta:?}")
    }
    let op = BatchNormTrain::default();
    let stats = op.stats.clone();
    let y = x
        .contiguous()?
        .apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?;
    let [mean, variance, _] = taken(&stats)?;
    let stats = BatchStats {
        mean,
        variance,
        count,
    };
    Ok((y, stats))
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

/// `[C]` means, biased variances and `1 / sqrt(variance + eps)`.
type Stats = [Tensor; 3];

/// [`batch_norm_train`] as an operation on `x`, gamma and beta; applied once.
#[derive(Default)]
struct BatchNormTrain {
    stats: Arc<Mutex<Option<Stats>>>,
}

fn taken(stats: &Mutex<Option<Stats>>) -> Result<Stats> {
    match &*locked(stats) {
        Some(stats) => Ok(stats.clone()),
        None => bail!("batch norm was differentiated before it was computed"),
    }
}

impl BatchNormTrain {
    fn keep(&self, stats: Stats) {
        *locked(&self.stats) = Some(stats);
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
        let variance = moments.iter().map(|(_, variance)| *variance as f32);
        let variance: Vec<f32> = variance.collect();
        let y = batch_norm::forward(&norm, x, None, false);
        let of_cpu = |values: Vec<f32>| Tensor::new(values, &candle_core::Device::Cpu);
        self.keep([of_cpu(norm.mean)?, of_cpu(variance)?, of_cpu(norm.inv_std)?]);
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
        let (y, stats) = cuda::batch_norm_train((x, x_layout), parameters, EPS)?;
        self.keep(stats);
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
        let [mean, _, inverse] = taken(&self.stats)?;
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
