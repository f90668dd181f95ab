//! SGD with momentum and weight decay: gradients and a learning rate come in, parameters are
//! updated in place. The semantics are those of `torch.optim.SGD` (dampening 0, no Nesterov):
//!
//! ```text
//! d = gradient + weight_decay * parameter
//! velocity = momentum * velocity + d        (velocity = 0 before the first step)
//! parameter = parameter - rate * velocity
//! ```
//!
//! State is keyed by parameter name, so what is saved fits whatever order parameters are made in.

use std::collections::BTreeMap;

use candle_core::{
    CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor, Var, backprop::GradStore, bail,
};
use rayon::prelude::*;
use shared::{Error, Result};

/// Elements a thread updates at a time: enough to outweigh handing them out.
const CHUNK: usize = 1 << 15;

/// The optimizer and its state, on the parameters' device.
pub struct Sgd {
    parameters: BTreeMap<String, Parameter>,
    momentum: f64,
    weight_decay: f64,
}

struct Parameter {
    var: Var,
    velocity: Tensor,
}

impl Sgd {
    /// An optimizer of `params` (f32) at rest.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device refuses the memory.
    pub fn new(params: BTreeMap<String, Var>, momentum: f64, weight_decay: f64) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for (name, var) in params {
            let velocity = var.zeros_like()?.detach();
            parameters.insert(name, Parameter { var, velocity });
        }
        Ok(Self {
            parameters,
            momentum,
            weight_decay,
        })
    }

    /// Takes one step of size `lr` along `grads`. Nothing is updated when it fails on a missing
    /// gradient.
    ///
    /// # Errors
    /// [`Error::Data`] naming a parameter that has no gradient; [`Error::Tensor`].
    pub fn step(&mut self, grads: &GradStore, lr: f64) -> Result<()> {
        for (name, parameter) in &self.parameters {
            if grads.get(&parameter.var).is_none() {
                let what = format!("parameter {name}");
                return Err(Error::data(what, "no gradient", "one from the loss"));
            }
        }
        for parameter in self.parameters.values_mut() {
            if let Some(gradient) = grads.get(&parameter.var) {
                let gradient = gradient.detach().contiguous()?;
                if gradient.device().is_cpu() {
                    parameter.step_in_place(&gradient, lr, self.momentum, self.weight_decay)?;
                } else {
                    parameter.step(&gradient, lr, self.momentum, self.weight_decay)?;
                }
            }
        }
        Ok(())
    }

    /// A copy of every parameter's velocity, by name.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device refuses the memory.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, parameter): (&String, &Parameter)| {
            Ok((name.clone(), parameter.velocity.copy()?))
        };
        self.parameters.iter().map(copy).collect()
    }

    /// Takes back what [`Sgd::state`] gave, from any device. All of it fits, or nothing changes.
    ///
    /// # Errors
    /// [`Error::Data`] when a name is missing or unknown, or a shape is another one.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let what = |name: &str| format!("optimizer state of {name}");
        if let Some(name) = state.keys().find(|n| !self.parameters.contains_key(*n)) {
            return Err(Error::data(what(name), "a tensor", "no such parameter"));
        }
        let mut restored = Vec::with_capacity(state.len());
        for (name, Parameter { var, .. }) in &self.parameters {
            let shape = var.shape();
            let Some(saved) = state.get(name) else {
                return Err(Error::data(what(name), "nothing", format!("{shape:?}")));
            };
            if saved.shape() != shape || saved.dtype() != var.dtype() {
                return Err(Error::data(
                    what(name),
                    format!("{:?} {:?}", saved.dtype(), saved.shape()),
                    format!("{:?} {shape:?}", var.dtype()),
                ));
            }
            // A copy of our own: steps write into it.
            restored.push(
                saved
                    .to_device(var.device())?
                    .contiguous()?
                    .copy()?
                    .detach(),
            );
        }
        for (parameter, velocity) in self.parameters.values_mut().zip(restored) {
            parameter.velocity = velocity;
        }
        Ok(())
    }
}

impl Parameter {
    /// The step in tensor operations that every device has.
    fn step(&mut self, gradient: &Tensor, lr: f64, momentum: f64, decay: f64) -> Result<()> {
        // Detached, or the velocity would hold the graph of every step before it.
        let value = self.var.as_detached_tensor();
        let direction = (gradient + (&value * decay)?)?;
        self.velocity = ((&self.velocity * momentum)? + direction)?;
        Ok(self.var.set(&(value - (&self.velocity * lr)?)?)?)
    }

    /// The step in two passes over memory and no allocation, on the CPU.
    fn step_in_place(
        &mut self,
        gradient: &Tensor,
        lr: f64,
        momentum: f64,
        decay: f64,
    ) -> Result<()> {
        let accumulate = Accumulate {
            momentum: momentum as f32,
            decay: decay as f32,
        };
        self.velocity
            .inplace_op3(gradient, self.var.as_tensor(), &accumulate)?;
        self.var
            .inplace_op2(&self.velocity, &Descend { lr: lr as f32 })?;
        Ok(())
    }
}

/// `velocity = momentum * velocity + gradient + decay * parameter`.
struct Accumulate {
    momentum: f32,
    decay: f32,
}

impl InplaceOp3 for Accumulate {
    fn name(&self) -> &'static str {
        "sgd-accumulate"
    }

    fn cpu_fwd(
        &self,
        velocity: &mut CpuStorage,
        velocity_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        parameter: &CpuStorage,
        parameter_layout: &Layout,
    ) -> candle_core::Result<()> {
        let &Self { momentum, decay } = self;
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

/// `parameter = parameter - lr * velocity`.
struct Descend {
    lr: f32,
}

impl InplaceOp2 for Descend {
    fn name(&self) -> &'static str {
        "sgd-descend"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        velocity: &CpuStorage,
        velocity_layout: &Layout,
    ) -> candle_core::Result<()> {
        let &Self { lr } = self;
        let parameter = floats_mut(parameter, parameter_layout)?;
        let velocity = floats(velocity, velocity_layout)?;
        parameter
            .par_chunks_mut(CHUNK)
            .zip(velocity.par_chunks(CHUNK))
            .for_each(|(parameter, velocity)| {
                for (p, v) in parameter.iter_mut().zip(velocity) {
                    *p -= lr * v;
                }
            });
        Ok(())
    }
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&all[start..end]),
        _ => bail!("SGD wants contiguous f32"),
    }
}

fn floats_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&mut all[start..end]),
        _ => bail!("SGD wants contiguous f32"),
    }
}

#[cfg(test)]
mod tests;
