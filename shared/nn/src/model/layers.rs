//! Layers that models are made of: convolution with batch normalization, linear layer, layer normalization. Each
//! lists the tensors it needs, is built from weights under PyTorch's names, and computes tensors.

use candle_core::Tensor;

use super::{
    spec::{Init, TensorSpec},
    weights::Weights,
};
use crate::{BatchNormParams, BatchStats, ComputeOptions, Conv2d, ConvBn, FoldedConvBn};
use base::Result;

/// A convolution without bias and the batch normalization after it, momentum 0.1 as in PyTorch.
#[derive(Clone, Debug)]
pub struct ConvBnLayer {
    /// Its parameters.
    pub parameters: ConvBn,
    running_mean: Tensor,
    running_variance: Tensor,
}

impl ConvBnLayer {
    /// The layers `conv` and `norm` of a model.
    pub fn new(
        weights: &Weights,
        (conv, norm): (&str, &str),
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let get = |part: &str| weights.get(&format!("{norm}.{part}"));
        Ok(Self {
            parameters: ConvBn {
                filter: Conv2d {
                    weight: weights.get(&format!("{conv}.weight"))?,
                    stride,
                    padding,
                    options: weights.options(),
                },
                gamma: get("weight")?,
                beta: get("bias")?,
            },
            running_mean: get("running_mean")?,
            running_variance: get("running_var")?,
        })
    }

    /// The tensors of a `kernel` x `kernel` convolution and its normalization.
    pub fn specs(
        (conv, norm): (&str, &str),
        c_in: usize,
        c_out: usize,
        kernel: usize,
    ) -> Vec<TensorSpec> {
        let shape = [c_out, c_in, kernel, kernel];
        let weight = TensorSpec::weight(format!("{conv}.weight"), shape, c_in * kernel * kernel);
        let channels = [
            ("weight", Init::Constant(1.0)),
            ("bias", Init::Constant(0.0)),
            ("running_mean", Init::Buffer(0.0)),
            ("running_var", Init::Buffer(1.0)),
        ];
        let channels =
            channels.map(|(part, init)| TensorSpec::new(format!("{norm}.{part}"), [c_out], init));
        std::iter::once(weight).chain(channels).collect()
    }

    /// A copy in evaluation mode: the normalization by running statistics folded into the convolution.
    pub fn folded(&self) -> Result<FoldedConvBn> {
        let norm = BatchNormParams {
            gamma: self.parameters.gamma.clone(),
            beta: self.parameters.beta.clone(),
            mean: self.running_mean.clone(),
            variance: self.running_variance.clone(),
        };
        Ok(FoldedConvBn::new(&self.parameters.filter, &norm)?)
    }

    /// Moves the running statistics towards a batch's.
    pub fn update_running_statistics(&self, batch: &BatchStats) -> Result<()> {
        // PyTorch keeps the unbiased variance.
        let count = batch.count as f64;
        let unbiased = (&batch.variance * (count / (count - 1.0).max(1.0)))?;
        for (running, new) in [
            (&self.running_mean, &batch.mean),
            (&self.running_variance, &unbiased),
        ] {
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
    options: ComputeOptions,
}

impl Linear {
    /// The layer `name` of a model.
    pub fn new(weights: &Weights, name: &str) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"))?,
            bias: weights.get(&format!("{name}.bias"))?,
            options: weights.options(),
        })
    }

    /// Its tensors.
    pub fn specs(name: &str, inputs: usize, outputs: usize) -> [TensorSpec; 2] {
        [
            TensorSpec::weight(format!("{name}.weight"), [outputs, inputs], inputs),
            TensorSpec::weight(format!("{name}.bias"), [outputs], inputs),
        ]
    }

    /// A copy with constant weights.
    pub fn frozen(&self) -> Result<Self> {
        Ok(Self {
            weight: self.weight.copy()?.detach(),
            bias: self.bias.copy()?.detach(),
            options: self.options,
        })
    }

    /// `[…,I]` to `[…,O]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(crate::linear(x, &self.weight, &self.bias, self.options)?)
    }

    /// `[B,I]` to `[B,O]`, on the CPU by a 1x1 convolution: unlike a matrix product's, its order of additions does
    /// not depend on the batch size, so neither do an image's logits.
    pub fn forward_images(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.forward(x);
        }
        let (outputs, inputs) = self.weight.dims2()?;
        let filter = Conv2d {
            weight: self.weight.reshape((outputs, inputs, 1, 1))?,
            stride: 1,
            padding: 0,
            options: self.options,
        };
        let x = x.reshape(((), 1, 1, inputs))?;
        Ok(crate::conv2d(&x, &filter, Some(&self.bias))?.flatten_from(1)?)
    }
}

/// Layer normalization.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Added to the variance.
    pub const EPS: f64 = 1e-6;

    /// The layer `name` of a model.
    pub fn new(weights: &Weights, name: &str) -> Result<Self> {
        Ok(Self {
            weight: weights.get(&format!("{name}.weight"))?,
            bias: weights.get(&format!("{name}.bias"))?,
        })
    }

    /// Its tensors.
    pub fn specs(name: &str, size: usize) -> [TensorSpec; 2] {
        [
            TensorSpec::new(format!("{name}.weight"), [size], Init::Constant(1.0)),
            TensorSpec::new(format!("{name}.bias"), [size], Init::Constant(0.0)),
        ]
    }

    /// Normalizes the last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(crate::layer_norm(x, &self.weight, &self.bias, Self::EPS)?)
    }
}
