//! The layers that both nets are made of: weights come in under a name, a function on tensors
//! goes out. Each layer also says which tensors it needs.

use candle_core::Tensor;

use super::weights::{Init, Spec, Weights};
use crate::{Result, nn};

/// A layer at work: how a net runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, running statistics updated, dropout on.
    Train,
    /// Running statistics, dropout off.
    Evaluate,
}

/// Convolution without bias.
#[derive(Clone, Debug)]
pub struct Conv {
    weight: Tensor,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// The layer `name` of a net.
    pub fn new(weights: &Weights, name: &str, stride: usize, padding: usize) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"))?,
            stride,
            padding,
        })
    }

    /// What a `kernel` x `kernel` convolution needs.
    pub fn spec(name: &str, c_in: usize, c_out: usize, kernel: usize) -> Spec {
        let shape = [c_out, c_in, kernel, kernel];
        Spec::weight(format!("{name}.weight"), shape, c_in * kernel * kernel)
    }

    /// `[B,I,H,W]` to `[B,O,H',W']`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(nn::conv2d(x, &self.weight, self.stride, self.padding)?)
    }
}

/// Batch normalisation, momentum 0.1 as in PyTorch.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl BatchNorm {
    /// The layer `name` of a net.
    pub fn new(weights: &Weights, name: &str) -> Result<Self> {
        let get = |part: &str| weights.get(&format!("{name}.{part}"));
        Ok(Self {
            gamma: get("weight")?,
            beta: get("bias")?,
            mean: get("running_mean")?,
            variance: get("running_var")?,
        })
    }

    /// What it needs.
    pub fn specs(name: &str, channels: usize) -> [Spec; 4] {
        [
            ("weight", Init::Constant(1.0)),
            ("bias", Init::Constant(0.0)),
            ("running_mean", Init::Statistic(0.0)),
            ("running_var", Init::Statistic(1.0)),
        ]
        .map(|(part, init)| Spec::new(format!("{name}.{part}"), [channels], init))
    }

    /// Normalises, adds the residual and, if `relu`, cuts below zero.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        relu: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        let apply = |mean: &Tensor, variance: &Tensor, statistics| {
            let (gamma, beta) = (&self.gamma, &self.beta);
            nn::batch_norm(x, gamma, beta, mean, variance, statistics, residual, relu)
        };
        if mode == Mode::Evaluate {
            return Ok(apply(&self.mean, &self.variance, nn::Statistics::Running)?);
        }
        let (mean, variance) = nn::moments(x)?;
        let count = (x.elem_count() / x.dim(1)?) as f64;
        // The running variance is that of the population the batch was drawn from.
        let unbiased = (&variance * (count / (count - 1.0).max(1.0)))?;
        for (running, new) in [(&self.mean, &mean), (&self.variance, &unbiased)] {
            let moved = ((running * 0.9)? + (new * 0.1)?)?;
            running.slice_set(&moved, 0, 0)?;
        }
        Ok(apply(&mean, &variance, nn::Statistics::Batch)?)
    }
}

/// `x W^T + b` on the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// The layer `name` of a net.
    pub fn new(weights: &Weights, name: &str) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"))?,
            bias: weights.get(&format!("{name}.bias"))?,
        })
    }

    /// What it needs.
    pub fn specs(name: &str, inputs: usize, outputs: usize) -> [Spec; 2] {
        [
            Spec::weight(format!("{name}.weight"), [outputs, inputs], inputs),
            Spec::weight(format!("{name}.bias"), [outputs], inputs),
        ]
    }

    /// `[…,I]` to `[…,O]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(nn::linear(x, &self.weight, &self.bias)?)
    }

    /// `[B,I,1,1]` to `[B,O]`, by a convolution: unlike a matrix product's, its kernel does not
    /// depend on how many pictures there are, so neither do a picture's logits.
    pub fn forward_pixels(&self, x: &Tensor) -> Result<Tensor> {
        let (outputs, inputs) = self.weight.dims2()?;
        let kernel = self.weight.reshape((outputs, inputs, 1, 1))?;
        let y = nn::conv2d(x, &kernel, 1, 0)?.flatten_from(1)?;
        Ok(y.broadcast_add(&self.bias)?)
    }
}

/// Layer normalisation with eps 1e-6.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// The layer `name` of a net.
    pub fn new(weights: &Weights, name: &str) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"))?,
            bias: weights.get(&format!("{name}.bias"))?,
        })
    }

    /// What it needs.
    pub fn specs(name: &str, size: usize) -> [Spec; 2] {
        [
            Spec::new(format!("{name}.weight"), [size], Init::Constant(1.0)),
            Spec::new(format!("{name}.bias"), [size], Init::Constant(0.0)),
        ]
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(nn::layer_norm(x, &self.weight, &self.bias, 1e-6)?)
    }
}
