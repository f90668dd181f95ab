//! Layers that models are made of: convolution with batch normalization, linear layer, layer normalization. Each
//! lists the tensors it needs, is built from weights under PyTorch's names, and computes tensors.

use candle_core::Tensor;

use super::{
    spec::{Init, TensorSpec},
    weights::Weights,
};
use crate::{BatchNormParams, ComputeOptions, Conv2d, ConvBn, FoldedConvBn, RunningStatistics};
use base::Result;

/// The convolution `name` of a model, without bias.
pub fn conv(weights: &Weights, name: &str, stride: usize, padding: usize) -> Result<Conv2d> {
    Ok(Conv2d {
        weight: weights.get(&format!("{name}.weight"))?,
        stride,
        padding,
        options: weights.options(),
    })
}

/// The tensor of a `kernel` x `kernel` convolution.
pub fn conv_spec(name: &str, c_in: usize, c_out: usize, kernel: usize) -> TensorSpec {
    let shape = [c_out, c_in, kernel, kernel];
    TensorSpec::weight(format!("{name}.weight"), shape, c_in * kernel * kernel)
}

/// Batch normalization.
#[derive(Clone, Debug)]
pub struct BatchNorm(BatchNormParams);

impl BatchNorm {
    /// The layer `name` of a model.
    pub fn new(weights: &Weights, name: &str) -> Result<Self> {
        let get = |part: &str| weights.get(&format!("{name}.{part}"));
        Ok(Self(BatchNormParams {
            gamma: get("weight")?,
            beta: get("bias")?,
            mean: get("running_mean")?,
            variance: get("running_var")?,
        }))
    }

    /// Its tensors.
    pub fn specs(name: &str, channels: usize) -> [TensorSpec; 4] {
        let tensors = [
            ("weight", Init::Constant(1.0)),
            ("bias", Init::Constant(0.0)),
            ("running_mean", Init::Buffer(0.0)),
            ("running_var", Init::Buffer(1.0)),
        ];
        tensors.map(|(part, init)| TensorSpec::new(format!("{name}.{part}"), [channels], init))
    }

    /// `[B,H,W,C]` in training mode: batch statistics, which move the running ones.
    pub fn train(&self, x: &Tensor) -> Result<Tensor> {
        let (gamma, beta) = (&self.0.gamma, &self.0.beta);
        Ok(crate::batch_norm_train(x, gamma, beta, &self.running())?)
    }

    /// `[B,H,W,C]` in evaluation mode: running statistics.
    pub fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(crate::batch_norm_eval(x, &self.0)?)
    }

    fn running(&self) -> RunningStatistics {
        RunningStatistics {
            mean: self.0.mean.clone(),
            variance: self.0.variance.clone(),
        }
    }
}

/// A convolution without bias and the batch normalization after it, for the fused residual stack.
#[derive(Clone, Debug)]
pub struct ConvBnLayer {
    filter: Conv2d,
    norm: BatchNorm,
}

impl ConvBnLayer {
    /// The layers `conv` and `norm` of a model.
    pub fn new(
        weights: &Weights,
        (conv_name, norm_name): (&str, &str),
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        Ok(Self {
            filter: conv(weights, conv_name, stride, padding)?,
            norm: BatchNorm::new(weights, norm_name)?,
        })
    }

    /// The tensors of a `kernel` x `kernel` convolution and its normalization.
    pub fn specs(
        (conv_name, norm_name): (&str, &str),
        c_in: usize,
        c_out: usize,
        kernel: usize,
    ) -> Vec<TensorSpec> {
        let conv = conv_spec(conv_name, c_in, c_out, kernel);
        let norm = BatchNorm::specs(norm_name, c_out);
        std::iter::once(conv).chain(norm).collect()
    }

    /// Its parameters.
    pub fn parameters(&self) -> ConvBn {
        ConvBn {
            filter: self.filter.clone(),
            gamma: self.norm.0.gamma.clone(),
            beta: self.norm.0.beta.clone(),
            running: self.norm.running(),
        }
    }

    /// A copy in evaluation mode: the normalization by running statistics folded into the convolution.
    pub fn folded(&self) -> Result<FoldedConvBn> {
        Ok(FoldedConvBn::new(&self.filter, &self.norm.0)?)
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
