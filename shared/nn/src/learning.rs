//! A convolution with batch normalization over the batch itself, for models that learn: parameters
//! come in, the layer that a chain walks through goes out, and in the end the batch's moments and
//! the parameters' gradients.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Result, Tensor, bail};

use super::{chain::Layer, host::like, host::with_floats};
use kernels::{
    batch_norm::{self, BatchNormParams},
    conv::{self, Epilogue, ForwardWeights, InputGradWeights},
    relu,
    shape::{ConvShape, NhwcShape},
};

/// PyTorch's default.
pub const EPS: f64 = 1e-5;

/// The weight of a convolution and how it moves.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[O,I,k,k]`.
    pub weight: Tensor,
    /// Step of the window.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
}

impl Conv2d {
    /// The sizes on images like these.
    ///
    /// # Errors
    /// When they do not fit each other.
    pub(super) fn geometry(&self, input: NhwcShape) -> Result<ConvShape> {
        let (c_out, c_in, kernel, kernel_width) = self.weight.dims4()?;
        let Self {
            stride, padding, ..
        } = *self;
        let smallest = input.height.min(input.width);
        if input.channels != c_in
            || kernel != kernel_width
            || padding >= kernel
            || stride == 0
            || smallest + 2 * padding < kernel
        {
            bail!(
                "a convolution of {input:?} with a weight {:?}, stride {stride}, padding {padding}",
                self.weight.shape()
            )
        }
        Ok(ConvShape {
            input,
            c_out,
            kernel,
            stride,
            padding,
        })
    }
}

/// What a convolution and its normalization learn.
#[derive(Clone, Debug)]
pub struct ConvBn {
    /// The convolution's.
    pub filter: Conv2d,
    /// Factor of the normalized channels, `[O]`.
    pub gamma: Tensor,
    /// Shift of them, `[O]`.
    pub beta: Tensor,
}

/// What a batch was like before its normalization, as constants.
#[derive(Clone, Debug)]
pub struct BatchStats {
    /// Mean of each channel, `[O]`.
    pub mean: Tensor,
    /// Biased variance, `[O]`.
    pub variance: Tensor,
    /// Numbers of a channel.
    pub count: usize,
}

/// Gradients of weight, gamma and beta.
pub(super) type Gradients = [Tensor; 3];

/// A layer at work in a chain; applied once.
#[derive(Clone)]
pub(super) struct Learner {
    pub(super) parameters: ConvBn,
    pub(super) moments: Arc<Mutex<Option<BatchStats>>>,
    pub(super) gradients: Arc<Mutex<Option<Gradients>>>,
}

/// What [`Learner`] saves.
pub(super) struct Saved {
    /// What the convolution gave.
    convolved: Vec<f32>,
    norm: BatchNormParams,
}

impl Learner {
    pub(super) fn new(parameters: &ConvBn) -> Result<Self> {
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
            moments: Arc::default(),
            gradients: Arc::default(),
        })
    }

    /// The moments of the batch that went through.
    pub(super) fn moments(&self) -> Result<BatchStats> {
        let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        match &*moments {
            Some(moments) => Ok(moments.clone()),
            None => bail!("no batch went through the layer"),
        }
    }
}

impl Layer for Learner {
    type View = [f32];
    type Map = Vec<f32>;
    type Saved = Saved;

    fn geometry(&self, input: NhwcShape) -> Result<ConvShape> {
        self.parameters.filter.geometry(input)
    }

    fn forward(
        &self,
        geometry: &ConvShape,
        x: &[f32],
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Result<(Vec<f32>, Saved)> {
        let ConvBn {
            filter,
            gamma,
            beta,
        } = &self.parameters;
        let convolved = with_floats([&filter.weight], |[weight]| {
            Ok(ForwardWeights::new(geometry, weight).apply(geometry, x, Epilogue::default()))
        })?;
        let moments = batch_norm::moments(geometry.c_out, &convolved);
        let inverse = |(_, variance): &(f64, f64)| (1.0 / (variance + EPS).sqrt()) as f32;
        let mean: Vec<f32> = moments.iter().map(|(mean, _)| *mean as f32).collect();
        let variance = moments
            .iter()
            .map(|(_, variance)| *variance as f32)
            .collect();
        let norm = BatchNormParams {
            mean: mean.clone(),
            inv_std: moments.iter().map(inverse).collect(),
            gamma: gamma.to_vec1()?,
            beta: beta.to_vec1()?,
        };
        let y = batch_norm::forward(&norm, &convolved, residual, relu);
        let moments = BatchStats {
            mean: like(gamma, mean)?,
            variance: like(gamma, variance)?,
            count: convolved.len() / geometry.c_out,
        };
        *self.moments.lock().unwrap_or_else(PoisonError::into_inner) = Some(moments);
        Ok((y, Saved { convolved, norm }))
    }

    fn slopes(
        &self,
        geometry: &ConvShape,
        saved: &mut Saved,
        x: &[f32],
        gradient: &[f32],
        learns: bool,
    ) -> Result<Option<Vec<f32>>> {
        let Saved { convolved, norm } = saved;
        let sums = batch_norm::parameter_gradients(norm, convolved, gradient);
        let slopes = batch_norm::input_gradient(norm, convolved, gradient, &sums);
        // Nobody asks for it again.
        *convolved = Vec::new();
        if learns {
            let ConvBn {
                filter,
                gamma,
                beta,
            } = &self.parameters;
            let of_weight = conv::weight_gradient(geometry, x, &slopes);
            let gradients = [
                like(&filter.weight, of_weight)?,
                like(gamma, sums.gamma)?,
                like(beta, sums.beta)?,
            ];
            *self
                .gradients
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(gradients);
        }
        Ok(Some(slopes))
    }

    fn input_gradient(
        &self,
        geometry: &ConvShape,
        slopes: &[f32],
        residual: Option<&[f32]>,
        gate: Option<&[f32]>,
    ) -> Result<Vec<f32>> {
        let epilogue = Epilogue {
            residual,
            relu_output: gate,
            ..Epilogue::default()
        };
        with_floats([&self.parameters.filter.weight], |[weight]| {
            Ok(InputGradWeights::new(geometry, weight).apply(geometry, slopes, epilogue))
        })
    }
    fn through_relu(y: &[f32], gradient: &[f32]) -> Result<Vec<f32>> {
        Ok(relu::backward(y, gradient))
    }
}
