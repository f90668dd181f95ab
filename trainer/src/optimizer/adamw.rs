//! AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019), as PyTorch's `AdamW`.

use std::collections::BTreeMap;

use base::Result;
use candle_core::{Tensor, Var};

use super::{ParameterOptimizer, gradient_of, restored};

/// Decay of the gradients' running mean.
const BETA_1: f64 = 0.9;
/// Decay of the squared gradients' running mean.
const BETA_2: f64 = 0.999;
/// Added to the root of the latter.
const EPS: f64 = 1e-8;
/// Name of the number of steps in the state; no parameter has it.
const STEPS: &str = "steps";

/// The optimizer and its state.
pub struct AdamW {
    parameters: BTreeMap<String, Moments>,
    weight_decay: f64,
    steps: u32,
}

/// A parameter and the running means of its gradient.
struct Moments {
    var: Var,
    mean: Tensor,
    square: Tensor,
}

impl AdamW {
    /// An optimizer of `params` (f32) that has taken no step.
    ///
    /// # Errors
    /// [`base::Error::Tensor`] when the device refuses the memory.
    pub fn new(params: BTreeMap<String, Var>, weight_decay: f64) -> Result<Self> {
        let parameter = |(name, var): (String, Var)| {
            let zeros = var.zeros_like()?.detach();
            let (mean, square) = (zeros.clone(), zeros);
            Ok((name, Moments { var, mean, square }))
        };
        Ok(Self {
            parameters: params.into_iter().map(parameter).collect::<Result<_>>()?,
            weight_decay,
            steps: 0,
        })
    }

    /// The state's tensors by name.
    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let device = self.parameters.values().next().map(|p| p.var.device());
        let steps = device.map(|device| Tensor::new(&[self.steps as f32], device));
        let steps = steps.transpose()?.map(|steps| (STEPS.to_string(), steps));
        let moments = self.parameters.iter().flat_map(|(name, p)| {
            [
                (format!("mean.{name}"), p.mean.clone()),
                (format!("square.{name}"), p.square.clone()),
            ]
        });
        Ok(moments.chain(steps).collect())
    }
}

impl ParameterOptimizer for AdamW {
    fn step(&mut self, loss: &Tensor, lr: f64) -> Result<()> {
        let gradients = nn::backward(loss)?;
        // Decided on the device, so that nothing waits for the loss: 0 * loss is 0 only if it is finite.
        let finite = (loss.detach() * 0.0)?.eq(0f32)?;
        self.steps += 1;
        let correction = |beta: f64| 1.0 - beta.powi(self.steps as i32);
        let (correction_1, correction_2) = (correction(BETA_1), correction(BETA_2).sqrt());
        let mut updates = Vec::with_capacity(self.parameters.len());
        for (name, p) in &self.parameters {
            let gradient = gradient_of(name, &p.var, &gradients)?;
            let kept =
                |new: Tensor, old: &Tensor| finite.broadcast_as(new.shape())?.where_cond(&new, old);
            let mean = ((&p.mean * BETA_1)? + (&gradient * (1.0 - BETA_1))?)?;
            let square = ((&p.square * BETA_2)? + (gradient.sqr()? * (1.0 - BETA_2))?)?;
            let scale = ((square.sqrt()? / correction_2)? + EPS)?;
            let value = p.var.as_tensor().detach();
            let decayed = (&value * (1.0 - lr * self.weight_decay))?;
            let stepped = (decayed - ((&mean * (lr / correction_1))? / scale)?)?;
            let new = (kept(mean, &p.mean)?, kept(square, &p.square)?);
            updates.push((kept(stepped, &value)?, new));
        }
        for (p, (value, (mean, square))) in self.parameters.values_mut().zip(updates) {
            p.var.set(&value)?;
            (p.mean, p.square) = (mean, square);
        }
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.copy()?));
        self.tensors()?.into_iter().map(copy).collect()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut tensors = restored(state, &self.tensors()?)?;
        let mut take = |name: String, kept: &mut Tensor| {
            if let Some(tensor) = tensors.remove(&name) {
                *kept = tensor;
            }
        };
        for (name, p) in &mut self.parameters {
            take(format!("mean.{name}"), &mut p.mean);
            take(format!("square.{name}"), &mut p.square);
        }
        if let Some(steps) = tensors.remove(STEPS) {
            self.steps = steps.to_vec1::<f32>()?[0] as u32;
        }
        Ok(())
    }
}
