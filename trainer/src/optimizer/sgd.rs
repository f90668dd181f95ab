//! SGD with momentum, weight decay, Nesterov's step and gradient clipping, as PyTorch's `SGD` and
//! `clip_grad_norm_`.

use std::collections::BTreeMap;

use base::Result;
use candle_core::{Tensor, Var};
use nn::{SgdConfig, SgdParam};

use super::{ParameterOptimizer, gradient_of, restored};
use crate::config::Optimizer;

/// The optimizer and its state, on the parameters' device.
pub struct Sgd {
    parameters: BTreeMap<String, Parameter>,
    settings: Optimizer,
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
    pub fn new(params: BTreeMap<String, Var>, settings: &Optimizer) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for (name, var) in params {
            let velocity = var.zeros_like()?.detach();
            parameters.insert(name, Parameter { var, velocity });
        }
        Ok(Self {
            parameters,
            settings: *settings,
        })
    }
}

impl Sgd {
    /// A step as [`ParameterOptimizer::step`] takes it, with the learning rate as a scalar f32 on the device.
    ///
    /// # Errors
    /// Those of [`ParameterOptimizer::step`].
    pub fn step_at(&self, loss: &Tensor, rate: &Tensor) -> Result<()> {
        let gradients = nn::backward(loss)?;
        let mut updates = Vec::with_capacity(self.parameters.len());
        for (name, Parameter { var, velocity }) in &self.parameters {
            updates.push(SgdParam {
                parameter: var.clone(),
                velocity: velocity.clone(),
                gradient: gradient_of(name, var, &gradients)?,
            });
        }
        let config = SgdConfig {
            momentum: self.settings.momentum as f32,
            decay: self.settings.weight_decay as f32,
            nesterov: self.settings.nesterov,
            clip_norm: self.settings.clip_norm,
        };
        Ok(config.step(rate, loss, &updates)?)
    }
}

impl ParameterOptimizer for Sgd {
    fn step(&mut self, loss: &Tensor, lr: f64) -> Result<()> {
        self.step_at(loss, &Tensor::new(lr as f32, loss.device())?)
    }

    /// A copy of every parameter's velocity, by name.
    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, parameter): (&String, &Parameter)| {
            Ok((name.clone(), parameter.velocity.copy()?))
        };
        self.parameters.iter().map(copy).collect()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let velocities = self.parameters.iter();
        let velocities = velocities.map(|(name, p)| (name.clone(), p.velocity.clone()));
        let mut velocities = restored(state, &velocities.collect())?;
        for (name, parameter) in &mut self.parameters {
            if let Some(velocity) = velocities.remove(name) {
                parameter.velocity = velocity;
            }
        }
        Ok(())
    }
}
