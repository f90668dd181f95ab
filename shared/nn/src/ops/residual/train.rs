//! Convolution with batch norm over the batch itself, for models in training mode.

use candle_core::{Result, Tensor, bail};

use super::{ConvLayer, Layer, NormGradients, layer::Cpu};
use crate::ops::{
    batch_norm::{EPS, RunningStatistics},
    conv::Conv2d,
    cpu_slices::{tensor_like, with_f32},
    gradients::hand_over,
};
use kernels::{
    batch_norm::{self, BatchNormParams as ChannelParams},
    conv::{self, Epilogue, ForwardWeights},
    shape::ConvShape,
};

/// A convolution and its batch norm in training mode.
#[derive(Clone, Debug)]
pub struct ConvBn {
    /// The convolution.
    pub filter: Conv2d,
    /// Factor of the normalized channels, `[O]`.
    pub gamma: Tensor,
    /// Shift of them, `[O]`.
    pub beta: Tensor,
    /// Moved by every forward pass.
    pub running: RunningStatistics,
}

/// What [`ConvBn`] saves on the CPU.
pub struct CpuSaved {
    /// The convolution's result.
    convolved: Vec<f32>,
    norm: ChannelParams,
}

impl ConvBn {
    /// Checks that all tensors of the batch norm have a value for each channel.
    pub(super) fn check(&self) -> Result<()> {
        let Self {
            filter,
            gamma,
            beta,
            running,
        } = self;
        let c_out = filter.weight.dim(0)?;
        for tensor in [gamma, beta, &running.mean, &running.variance] {
            if tensor.dims1()? != c_out {
                bail!("{c_out} channels with {:?}", tensor.shape())
            }
        }
        Ok(())
    }
}

impl ConvLayer for ConvBn {
    fn conv(&self) -> &Conv2d {
        &self.filter
    }
}

impl Layer<Cpu> for ConvBn {
    type Prepared = ();
    type Saved = CpuSaved;

    fn prepare(layers: &[&Self]) -> Result<Vec<()>> {
        Ok(vec![(); layers.len()])
    }

    fn forward(
        &self,
        (): (),
        shape: &ConvShape,
        x: &[f32],
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Result<(Vec<f32>, CpuSaved)> {
        let convolved = with_f32([&self.filter.weight], |[weight]| {
            Ok(ForwardWeights::new(shape, weight).apply(shape, x, Epilogue::default()))
        })?;
        let moments = batch_norm::moments(shape.c_out, &convolved);
        let inverse = |(_, variance): &(f64, f64)| (1.0 / (variance + EPS).sqrt()) as f32;
        let mean: Vec<f32> = moments.iter().map(|(mean, _)| *mean as f32).collect();
        let variance = moments
            .iter()
            .map(|(_, variance)| *variance as f32)
            .collect();
        let norm = ChannelParams {
            mean: mean.clone(),
            inv_std: moments.iter().map(inverse).collect(),
            gamma: self.gamma.to_vec1()?,
            beta: self.beta.to_vec1()?,
        };
        let y = batch_norm::forward(&norm, &convolved, residual, relu);
        self.running.update(
            tensor_like(&self.gamma, mean)?,
            &tensor_like(&self.gamma, variance)?,
            convolved.len() / shape.c_out,
        )?;
        Ok((y, CpuSaved { convolved, norm }))
    }

    fn norm_backward(
        &self,
        shape: &ConvShape,
        saved: &mut CpuSaved,
        x: &[f32],
        gradient: &[f32],
        wanted: NormGradients,
    ) -> Result<Option<Vec<f32>>> {
        debug_assert!(!wanted.relu, "it does not pass the ReLU");
        let CpuSaved { convolved, norm } = saved;
        let sums = batch_norm::parameter_gradients(norm, convolved, gradient);
        let grad_convolved = batch_norm::input_gradient(norm, convolved, gradient, &sums);
        // Not needed again.
        *convolved = Vec::new();
        if wanted.parameters {
            let grad_weight = conv::weight_gradient(shape, x, &grad_convolved);
            for (parameter, gradient) in [
                (&self.filter.weight, grad_weight),
                (&self.gamma, sums.gamma),
                (&self.beta, sums.beta),
            ] {
                hand_over(parameter, tensor_like(parameter, gradient)?)?;
            }
        }
        Ok(Some(grad_convolved))
    }
}
