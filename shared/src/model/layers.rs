//! The layers that both nets are made of: weights come in under a name, a function on tensors
//! goes out. Each layer also says which tensors it needs.

use candle_core::Tensor;

use super::{
    spec::{Init, Spec},
    weights::Weights,
};
use crate::{
    Result,
    nn::{self, Normalisation},
};

/// A layer at work: how a net runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, running statistics updated, dropout on.
    Train,
    /// Running statistics, dropout off.
    Evaluate,
}

/// A convolution without bias and the batch normalisation behind it, momentum 0.1 as in PyTorch.
#[derive(Clone, Debug)]
pub struct ConvNorm {
    weight: Tensor,
    stride: usize,
    padding: usize,
    /// With the running statistics.
    norm: Normalisation,
}

impl ConvNorm {
    /// The layers `conv` and `norm` of a net.
    pub fn new(
        weights: &Weights,
        (conv, norm): (&str, &str),
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let get = |part: &str| weights.get(&format!("{norm}.{part}"));
        Ok(Self {
            weight: weights.get(&format!("{conv}.weight"))?,
            stride,
            padding,
            norm: Normalisation {
                gamma: get("weight")?,
                beta: get("bias")?,
                mean: get("running_mean")?,
                variance: get("running_var")?,
            },
        })
    }

    /// What a `kernel` x `kernel` convolution and its normalisation need.
    pub fn specs(
        (conv, norm): (&str, &str),
        c_in: usize,
        c_out: usize,
        kernel: usize,
    ) -> Vec<Spec> {
        let shape = [c_out, c_in, kernel, kernel];
        let weight = Spec::weight(format!("{conv}.weight"), shape, c_in * kernel * kernel);
        let channels = [
            ("weight", Init::Constant(1.0)),
            ("bias", Init::Constant(0.0)),
            ("running_mean", Init::Statistic(0.0)),
            ("running_var", Init::Statistic(1.0)),
        ];
        let channels =
            channels.map(|(part, init)| Spec::new(format!("{norm}.{part}"), [c_out], init));
        std::iter::once(weight).chain(channels).collect()
    }

    /// `[B,I,H,W]` to `[B,O,H',W']`: convolves, normalises, adds the residual and, if `relu`, cuts
    /// below zero. In evaluation mode weights and statistics are constants: only the inputs have
    /// gradients.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        relu: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        let (weight, shape) = (&self.weight, (self.stride, self.padding));
        if mode == Mode::Evaluate {
            let y = nn::conv_norm_frozen(x, weight, shape, &self.norm, residual, relu)?;
            return Ok(y);
        }
        let y = nn::conv2d(x, weight, self.stride, self.padding)?;
        let (mean, variance) = nn::moments(&y)?;
        self.remember(&mean, &variance, y.elem_count() / y.dim(1)?)?;
        let norm = Normalisation {
            mean,
            variance,
            ..self.norm.clone()
        };
        let batch = nn::Statistics::Batch;
        Ok(nn::batch_norm(&y, &norm, batch, residual, relu)?)
    }

    /// Moves the running statistics towards a batch's, of `count` values per channel.
    fn remember(&self, mean: &Tensor, variance: &Tensor, count: usize) -> Result<()> {
        // The running variance is that of the population the batch was drawn from.
        let count = count as f64;
        let unbiased = (variance * (count / (count - 1.0).max(1.0)))?;
        for (running, new) in [(&self.norm.mean, mean), (&self.norm.variance, &unbiased)] {
            let moved = ((running * 0.9)? + (new * 0.1)?)?;
            running.slice_set(&moved, 0, 0)?;
        }
        Ok(())
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

/// Layer normalisation.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Added to the variance.
    pub const EPS: f64 = 1e-6;

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
        Ok(nn::layer_norm(x, &self.weight, &self.bias, Self::EPS)?)
    }
}
