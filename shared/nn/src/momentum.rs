//! A step of SGD with momentum on many parameters: parameters, velocities and gradients come in,
//! parameters and velocities are changed in place. The semantics are those of `torch.optim.SGD`
//! (dampening 0, no Nesterov):
//!
//! ```text
//! velocity = momentum * velocity + (gradient + decay * parameter)
//! parameter = parameter - rate * velocity
//! ```

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;
use super::host::floats;

/// Elements a thread updates at a time: enough to outweigh handing them out.
const CHUNK: usize = 1 << 15;

/// How far and how to go.
#[derive(Clone, Copy, Debug)]
pub struct SgdConfig {
    /// Learning rate.
    pub rate: f32,
    /// What is kept of the velocity.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
}

/// What one parameter's step needs; all contiguous f32 of one shape.
#[derive(Clone, Debug)]
pub struct SgdParam {
    /// To be moved.
    pub parameter: Var,
    /// Its velocity, a tensor that nothing else uses.
    pub velocity: Tensor,
    /// Its gradient.
    pub gradient: Tensor,
}

impl SgdConfig {
    /// Takes the step, unless `loss`, a scalar, is no number: then nothing is changed, and whoever
    /// reads the loss finds out why.
    pub fn step(&self, loss: &Tensor, descents: &[SgdParam]) -> Result<()> {
        #[cfg(feature = "cuda")]
        if loss.device().is_cuda() {
            return cuda::descend(self, loss, descents);
        }
        if !loss.to_scalar::<f32>()?.is_finite() {
            return Ok(());
        }
        for descent in descents {
            let parameter = descent.parameter.as_tensor();
            let accumulate = Accumulate(*self);
            descent
                .velocity
                .inplace_op3(&descent.gradient, parameter, &accumulate)?;
            parameter.inplace_op2(&descent.velocity, &Descend(*self))?;
        }
        Ok(())
    }
}

/// `velocity = momentum * velocity + (gradient + decay * parameter)`.
struct Accumulate(SgdConfig);

impl InplaceOp3 for Accumulate {
    fn name(&self) -> &'static str {
        "momentum-accumulate"
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
        let velocity = floats_mut(velocity, velocity_layout)?;
        let gradient = floats(gradient, gradient_layout)?;
        let parameter = floats(parameter, parameter_layout)?;
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

/// `parameter = parameter - rate * velocity`.
struct Descend(SgdConfig);

impl InplaceOp2 for Descend {
    fn name(&self) -> &'static str {
        "momentum-descend"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        velocity: &CpuStorage,
        velocity_layout: &Layout,
    ) -> Result<()> {
        let SgdConfig { rate, .. } = self.0;
        let parameter = floats_mut(parameter, parameter_layout)?;
        let velocity = floats(velocity, velocity_layout)?;
        parameter
            .par_chunks_mut(CHUNK)
            .zip(velocity.par_chunks(CHUNK))
            .for_each(|(parameter, velocity)| {
                for (p, v) in parameter.iter_mut().zip(velocity) {
                    *p -= rate * v;
                }
            });
        Ok(())
    }
}

fn floats_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&mut all[start..end]),
        _ => bail!("contiguous f32 is needed"),
    }
}
