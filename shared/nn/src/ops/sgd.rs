//! SGD with momentum on many parameters at once, in place, with the semantics of `torch.optim.SGD` (dampening 0), after
//! those of `clip_grad_norm_` where gradients are clipped:
//!
//! ```text
//! direction = gradient + decay * parameter
//! velocity = momentum * velocity + direction
//! parameter = parameter - rate * velocity                              (without Nesterov)
//! parameter = parameter - rate * (direction + momentum * velocity)     (with Nesterov)
//! ```

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor, Var};
use rayon::prelude::*;

use super::cpu_slices::{as_f32, as_f32_mut};
use crate::cuda;

/// Elements a thread updates at a time: enough to outweigh handing them out.
const CHUNK: usize = 1 << 15;

/// Added to the norm that gradients are divided by, as in PyTorch.
pub const CLIP_EPS: f64 = 1e-6;

/// Hyperparameters but for the learning rate, which each step is given.
#[derive(Clone, Copy, Debug)]
pub struct SgdConfig {
    /// Factor of the old velocity.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
    /// Whether the step looks ahead by the new velocity (Nesterov).
    pub nesterov: bool,
    /// Largest L2 norm of all gradients together, as PyTorch's `clip_grad_norm_`; `None` for no clipping.
    pub clip_norm: Option<f64>,
}

/// One parameter and its state; all contiguous f32 of one shape.
#[derive(Clone, Debug)]
pub struct SgdParam {
    /// To be updated.
    pub parameter: Var,
    /// Its velocity, a tensor that nothing else uses.
    pub velocity: Tensor,
    /// Its gradient.
    pub gradient: Tensor,
}

impl SgdConfig {
    /// Takes a step with the learning rate `rate`, a scalar f32 on the device of `loss`; a no-op if `loss`, a scalar, is not
    /// finite, which is checked when the loss is read.
    pub fn step(&self, rate: &Tensor, loss: &Tensor, params: &[SgdParam]) -> Result<()> {
        if loss.device().is_cuda() {
            return cuda::sgd_step(self, rate, loss, params);
        }
        let rate = rate.to_scalar()?;
        if !loss.to_scalar::<f32>()?.is_finite() {
            return Ok(());
        }
        let mut params = params.to_vec();
        if let Some(norm) = self.clip_norm {
            clip(&mut params, norm)?;
        }
        for param in &params {
            let parameter = param.parameter.as_tensor();
            let update = VelocityUpdate(*self);
            param
                .velocity
                .inplace_op3(&param.gradient, parameter, &update)?;
            let update = ParameterUpdate {
                rate,
                config: *self,
            };
            parameter.inplace_op3(&param.velocity, &param.gradient, &update)?;
        }
        Ok(())
    }
}

/// Scales all gradients so that together they are no longer than `norm`.
fn clip(params: &mut [SgdParam], norm: f64) -> Result<()> {
    let squares = params.iter().map(|param| param.gradient.sqr()?.sum_all());
    let squares = squares.collect::<Result<Vec<Tensor>>>()?;
    let length = Tensor::stack(&squares, 0)?.sum_all()?.sqrt()?;
    let factor = ((length + CLIP_EPS)?.recip()? * norm)?.minimum(1f32)?;
    for param in params {
        param.gradient = param.gradient.broadcast_mul(&factor)?;
    }
    Ok(())
}

/// `velocity = momentum * velocity + (gradient + decay * parameter)`.
struct VelocityUpdate(SgdConfig);

impl InplaceOp3 for VelocityUpdate {
    fn name(&self) -> &'static str {
        "sgd-velocity"
    }

    fn cpu_fwd(
        &self,
        velocity: &mut CpuStorage,
        velocity_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        parameter: &CpuStorage,
        parameter_layout: &Layout,
    ) -> Result<()> {
        let SgdConfig {
            momentum, decay, ..
        } = self.0;
        let velocity = as_f32_mut(velocity, velocity_layout)?;
        let gradient = as_f32(gradient, gradient_layout)?;
        let parameter = as_f32(parameter, parameter_layout)?;
        velocity
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(parameter.par_chunks(CHUNK))
            .for_each(|((velocity, gradient), parameter)| {
                for ((v, g), p) in velocity.iter_mut().zip(gradient).zip(parameter) {
                    *v = momentum * *v + (g + decay * p);
                }
            });
        Ok(())
    }
}

/// The parameter's step, after the velocity's.
struct ParameterUpdate {
    rate: f32,
    config: SgdConfig,
}

impl InplaceOp3 for ParameterUpdate {
    fn name(&self) -> &'static str {
        "sgd-parameter"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        velocity: &CpuStorage,
        velocity_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let rate = self.rate;
        let SgdConfig {
            momentum,
            decay,
            nesterov,
            ..
        } = self.config;
        let parameter = as_f32_mut(parameter, parameter_layout)?;
        let velocity = as_f32(velocity, velocity_layout)?;
        let gradient = as_f32(gradient, gradient_layout)?;
        parameter
            .par_chunks_mut(CHUNK)
            .zip(velocity.par_chunks(CHUNK))
            .zip(gradient.par_chunks(CHUNK))
            .for_each(|((parameter, velocity), gradient)| {
                let rows = parameter.iter_mut().zip(velocity).zip(gradient);
                if nesterov {
                    rows.for_each(|((p, v), g)| *p -= rate * ((g + decay * *p) + momentum * v));
                } else {
                    rows.for_each(|((p, v), _)| *p -= rate * v);
                }
            });
        Ok(())
    }
}
