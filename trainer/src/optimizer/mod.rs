//! SGD with momentum and weight decay, as PyTorch's. Its state is keyed by parameter name, so that a checkpoint
//! does not depend on the order in which parameters are created.

use std::collections::BTreeMap;

use base::{Error, Result};
use candle_core::{Tensor, Var};
use nn::{SgdConfig, SgdParam};

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
    /// An optimizer of `params` (f32) with velocities of 0.
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

    /// One step of learning rate `lr` on the scalar `loss`. A no-op if `loss` is not finite (checked where the
    /// loss is read), or when a gradient is missing.
    ///
    /// # Errors
    /// [`Error::Data`] naming a parameter that has no gradient; [`Error::Tensor`].
    pub fn step(&mut self, loss: &Tensor, lr: f64) -> Result<()> {
        let gradients = loss.backward()?;
        let mut updates = Vec::with_capacity(self.parameters.len());
        for (name, Parameter { var, velocity }) in &self.parameters {
            let Some(gradient) = gradients.get(var) else {
                let what = format!("parameter {name}");
                return Err(Error::data(what, "no gradient", "one from the loss"));
            };
            updates.push(SgdParam {
                parameter: var.clone(),
                velocity: velocity.clone(),
                gradient: gradient.detach().contiguous()?,
            });
        }
        let config = SgdConfig {
            rate: lr as f32,
            momentum: self.momentum as f32,
            decay: self.weight_decay as f32,
        };
        Ok(config.step(loss, &updates)?)
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

    /// Restores what [`Sgd::state`] returned, from any device; on an error nothing changes.
    ///
    /// # Errors
    /// [`Error::Data`] when a name is missing or unknown, or a shape differs.
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
            // A copy, since steps write into it.
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

#[cfg(test)]
mod tests;
