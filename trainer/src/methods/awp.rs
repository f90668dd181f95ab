//! Adversarial weight perturbation, AWP (Wu, Xia, Wang, "Adversarial weight perturbation helps robust
//! generalization", 2020): for one step the weights are moved in the direction that raises the loss, and the step
//! minimizes the loss at the moved weights.

use base::{Error, Result};
use candle_core::{Tensor, Var};
use nn::model::{Network, Weights, duplicate};

/// The perturbation of a model's weights.
pub struct Awp {
    /// A copy of the model: finding the direction moves no running statistics of the model itself.
    proxy: Box<dyn Network>,
    /// L2 norm of each weight tensor's perturbation, as a fraction of that tensor's L2 norm; above 0.
    gamma: f64,
}

/// How far each weight is moved.
pub struct WeightPerturbation(Vec<(Var, Tensor)>);

impl Awp {
    /// For models like this one.
    pub fn new(model: &dyn Network, gamma: f64) -> Result<Self> {
        let proxy = duplicate(model)?;
        Ok(Self { proxy, gamma })
    }

    /// Each weight's perturbation: along its gradient of `loss`, as long as `gamma` times the weight itself. Biases
    /// and normalizations, tensors of one dimension, stay, as in the authors' code.
    pub fn perturbation(
        &self,
        weights: &Weights,
        loss: impl FnOnce(&dyn Network) -> Result<Tensor>,
    ) -> Result<WeightPerturbation> {
        self.proxy.weights().set(weights)?;
        let gradients = nn::backward(&loss(self.proxy.as_ref())?)?;
        let proxies = self.proxy.weights().variables()?;
        let mut moves = Vec::new();
        for (name, var) in weights.variables()? {
            if var.rank() < 2 {
                continue;
            }
            let Some(gradient) = proxies.get(&name).and_then(|proxy| gradients.get(proxy)) else {
                let what = format!("parameter {name}");
                return Err(Error::data(what, "no gradient", "one from the loss"));
            };
            let length = |tensor: &Tensor| tensor.detach().sqr()?.sum_all()?.sqrt();
            // A gradient of 0 gives no perturbation.
            let scale = ((length(&var)? * self.gamma)? / (length(gradient)? + 1e-20)?)?;
            moves.push((var, gradient.detach().broadcast_mul(&scale)?));
        }
        Ok(WeightPerturbation(moves))
    }
}

impl WeightPerturbation {
    /// Moves the weights.
    pub fn apply(&self) -> Result<()> {
        for (var, by) in &self.0 {
            var.set(&(var.as_tensor().detach() + by)?)?;
        }
        Ok(())
    }

    /// Moves them back; steps taken meanwhile stay.
    pub fn undo(&self) -> Result<()> {
        for (var, by) in &self.0 {
            var.set(&(var.as_tensor().detach() - by)?)?;
        }
        Ok(())
    }
}
