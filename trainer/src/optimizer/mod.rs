//! Optimizers: SGD and AdamW with PyTorch's semantics. Their state is keyed by parameter name, so that a checkpoint
//! does not depend on the order in which parameters are created.

mod adamw;
mod sgd;

use std::collections::BTreeMap;

use base::{Error, Result};
use candle_core::{Tensor, Var, backprop::GradStore};

pub use self::{adamw::AdamW, sgd::Sgd};

/// An optimizer of named parameters (f32), with its state on their device.
pub trait ParameterOptimizer {
    /// One step of learning rate `lr` on the scalar `loss`. A no-op if `loss` is not finite (checked where the
    /// loss is read), or when a gradient is missing.
    ///
    /// # Errors
    /// [`Error::Data`] naming a parameter that has no gradient; [`Error::Tensor`].
    fn step(&mut self, loss: &Tensor, lr: f64) -> Result<()>;

    /// Copies of its state's tensors, by name.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the device refuses the memory.
    fn state(&self) -> Result<BTreeMap<String, Tensor>>;

    /// Restores what [`ParameterOptimizer::state`] returned, from any device; on an error nothing changes.
    ///
    /// # Errors
    /// [`Error::Data`] when a name is missing or unknown, or a shape differs.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}

/// The gradient of a parameter.
fn gradient_of(name: &str, var: &Var, gradients: &GradStore) -> Result<Tensor> {
    match gradients.get(var) {
        Some(gradient) => Ok(gradient.detach().contiguous()?),
        None => {
            let what = format!("parameter {name}");
            Err(Error::data(what, "no gradient", "one from the loss"))
        }
    }
}

/// Copies of a state's tensors on the device of `like`, which has their names, shapes and types.
fn restored(
    state: &BTreeMap<String, Tensor>,
    like: &BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    let what = |name: &str| format!("optimizer state of {name}");
    if let Some(name) = state.keys().find(|name| !like.contains_key(*name)) {
        return Err(Error::data(what(name), "a tensor", "no such parameter"));
    }
    let copy = |(name, expected): (&String, &Tensor)| {
        let shape = expected.shape();
        let Some(saved) = state.get(name) else {
            return Err(Error::data(what(name), "nothing", format!("{shape:?}")));
        };
        if saved.shape() != shape || saved.dtype() != expected.dtype() {
            return Err(Error::data(
                what(name),
                format!("{:?} {:?}", saved.dtype(), saved.shape()),
                format!("{:?} {shape:?}", expected.dtype()),
            ));
        }
        // A copy, since steps may write into it.
        let copy = saved.to_device(expected.device())?.contiguous()?.copy()?;
        Ok((name.clone(), copy.detach()))
    };
    like.iter().map(copy).collect()
}

#[cfg(test)]
mod tests;
