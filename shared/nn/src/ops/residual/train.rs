//! Convolution with batch norm over the batch itself, for models in training mode.

use std::sync::{Arc, Mutex};

use candle_core::{Result, Tensor, bail};

use super::{ConvLayer, Layer, layer::Cpu};
use crate::ops::{
    batch_norm::{BatchStats, EPS},
    conv::Conv2d,
    cpu_slices::{tensor_like, with_f32},
    gradients::hand_over,
    locked,
};
use kernels::{
    batch_norm::{self, BatchNormParams as ChannelParams},
    conv::{self, Epilogue, ForwardWeights},
    shape::ConvShape,
};

/// The parameters of a convolution and its batch norm.
#[derive(Clone, Debug)]
pub struct ConvBn {
    /// The convolution.
    pub filter: Conv2d,
    /// Factor of the normalized channels, `[O]`.
    pub gamma: Tensor,
    /// Shift of them, `[O]`.
    pub beta: Tensor,
}

/// A layer in one training pass; applied once.
#[derive(Clone)]
pub struct ConvBnTrain {
    /// The parameters.
    pub parameters: ConvBn,
    /// The batch's, after the forward pass.
    pub stats: Arc<Mutex<Option<BatchStats>>>,
}

/// What [`ConvBnTrain`] saves on the CPU.
pub struct CpuSaved {
    /// The convolution's result.
    convolved: Vec<f32>,
    norm: ChannelParams,
}

impl ConvBnTrain {
    /// A layer of these parameters.
    pub fn new(parameters: &ConvBn) -> Result<Self> {
        let ConvBn {
            filter,
            gamma,
            beta,
        } = parameters;
        let c_out = filter.weight.dim(0)?;
        if [gamma.dims1()?, beta.dims1()?] != [c_out; 2] {
            bail!(
                "{c_out} channels with {:?} and {:?}",
                gamma.shape(),
                beta.shape()
            )
        }
        Ok(Self {
            parameters: parameters.clone(),
            stats: Arc::default(),
        })
    }

    /// The statistics of the batch that went through.
    pub fn stats(&self) -> Result<BatchStats> {
        match &*locked(&self.stats) {
            Some(stats) => Ok(stats.clone()),
            None => bail!("no batch went through the layer"),
        }
    }
}

impl ConvLayer for ConvBnTrain {
    fn conv(&self) -> &Conv2d {
        &self.parameters.filter
    }
}

impl Layer<Cpu> for ConvBnTrain {
    type Saved = CpuSaved;

    fn forward(
        &self,
        shape: &ConvShape,
        x: &[f32],
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Result<(Vec<f32>, CpuSaved)> {
        let ConvBn {
            filter,
            gamma,
            beta,
        } = &self.parameters;
        let convolved = with_f32([&filter.weight], |[weight]| {
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
            gamma: gamma.to_vec1()?,
            beta: beta.to_vec1()?,
        };
        let y = batch_norm::forward(&norm, &convolved, residual, relu);
        *locked(&self.stats) = Some(BatchStats {
            mean: tensor_like(gamma, mean)?,
            variance: tensor_like(gamma, variance)?,
            count: convolved.len() / shape.c_out,
        });
        Ok((y, CpuSaved { convolved, norm }))
    }

    fn norm_backward(
        &self,
        shape: &ConvShape,
        saved: &mut CpuSaved,
        x: &[f32],
        gradient: &[f32],
        with_parameters: bool,
    ) -> Result<Option<Vec<f32>>> {
        let CpuSaved { convolved, norm } = saved;
        let sums = batch_norm::parameter_gradients(norm, convolved, gradient);
        let grad_convolved = batch_norm::input_gradient(norm, convolved, gradient, &sums);
        // Not needed again.
        *convolved = Vec::new();
        if with_parameters {
            let ConvBn {
                filter,
                gamma,
                beta,
            } = &self.parameters;
            let grad_weight = conv::weight_gradient(shape, x, &grad_convolved);
            hand_over(&filter.weight, tensor_like(&filter.weight, grad_weight)?)?;
            hand_over(gamma, tensor_like(gamma, sums.gamma)?)?;
            hand_over(beta, tensor_like(beta, sums.beta)?)?;
        }
        Ok(Some(grad_convolved))
    }
}
