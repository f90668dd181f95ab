//! A convolution, batch normalisation over the batch itself, residual and ReLU as one operation,
//! as training needs it: NHWC features come in, activated features and the batch's moments go
//! out, differentiable in features, weights and residual. On CUDA it is composed of candle's
//! operations.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    convolution::{self, like},
    cpu::{
        convolve::{self, Backward, Forward},
        epilogue::Epilogue,
        geometry::Geometry,
        normalise::{self, Channels, Output},
    },
    host::{floats, with_floats},
};

/// PyTorch's default.
pub const EPS: f64 = 1e-5;

/// What a convolution and its normalisation learn.
#[derive(Clone, Debug)]
pub struct ConvNormParameters {
    /// `[O,I,k,k]`.
    pub weight: Tensor,
    /// Factor of the normalised channels, `[O]`.
    pub gamma: Tensor,
    /// Shift of them, `[O]`.
    pub beta: Tensor,
    /// Step and zero padding of the window.
    pub shape: (usize, usize),
}

/// What comes out of [`conv_norm`].
pub struct Normalised {
    /// `[B,H',W',O]`.
    pub y: Tensor,
    /// Mean of each channel over the batch, `[O]`, a constant.
    pub mean: Tensor,
    /// Biased variance, `[O]`, a constant.
    pub variance: Tensor,
}

/// `activate(normalise(conv2d(x)) + residual)`, where `activate` is the ReLU if `relu` is set.
pub fn conv_norm(
    x: &Tensor,
    parameters: &ConvNormParameters,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Normalised> {
    if !x.device().is_cpu() {
        return stock_conv_norm(x, parameters, residual, relu);
    }
    let ConvNormParameters {
        weight,
        gamma,
        beta,
        shape,
    } = parameters;
    let geometry = convolution::geometry(x, weight, *shape)?;
    let memory = Arc::new(Memory::default());
    let op = ConvNorm {
        geometry,
        weight: weight.contiguous()?.detach(),
        gamma: gamma.to_vec1()?,
        beta: beta.to_vec1()?,
        relu,
        memory: memory.clone(),
    };
    if [op.gamma.len(), op.beta.len()] != [geometry.c_out; 2] {
        bail!("{:?} with {:?}", weight.shape(), gamma.shape())
    }
    let handle = weight.apply_op3(gamma, beta, Handle(memory.clone()))?;
    let x = x.contiguous()?;
    let y = match residual {
        None => x.apply_op2(&handle, op)?,
        Some(residual) => x.apply_op3(&handle, &residual.contiguous()?, op)?,
    };
    let moments = memory.saved()?.moments.iter();
    let (mean, variance): (Vec<f32>, Vec<f32>) = moments
        .map(|&(mean, variance)| (mean as f32, variance as f32))
        .unzip();
    Ok(Normalised {
        mean: like(&gamma.detach(), mean)?,
        variance: like(&gamma.detach(), variance)?,
        y,
    })
}

/// The same from candle's operations, for CUDA and as a reference for tests.
pub(super) fn stock_conv_norm(
    x: &Tensor,
    parameters: &ConvNormParameters,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Normalised> {
    let (stride, padding) = parameters.shape;
    let x = convolution::stock_conv2d(x, &parameters.weight, stride, padding)?;
    let over = |t: &Tensor| t.mean_keepdim(0)?.mean_keepdim(1)?.mean_keepdim(2);
    let mean = over(&x)?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = over(&centred.sqr()?)?;
    let mut y = centred
        .broadcast_div(&(&variance + EPS)?.sqrt()?)?
        .broadcast_mul(&parameters.gamma)?
        .broadcast_add(&parameters.beta)?;
    if let Some(residual) = residual {
        y = (y + residual)?;
    }
    Ok(Normalised {
        y: if relu { y.relu()? } else { y },
        mean: mean.flatten_all()?.detach(),
        variance: variance.flatten_all()?.detach(),
    })
}

/// What the forward pass leaves for the backward one, and that for the parameters.
#[derive(Default)]
struct Memory {
    saved: OnceLock<Saved>,
    gradients: Mutex<Option<[Vec<f32>; 3]>>,
}

struct Saved {
    /// What the convolution gave.
    convolved: Vec<f32>,
    norm: Channels,
    moments: Vec<(f64, f64)>,
}

impl Memory {
    fn saved(&self) -> Result<&Saved> {
        match self.saved.get() {
            Some(saved) => Ok(saved),
            None => bail!("a normalisation was differentiated before it was computed"),
        }
    }
}

/// Stands for weight, gamma and beta among the arguments of [`ConvNorm`], since candle's operations
/// have three at most: an empty tensor, whose gradient is what [`ConvNorm`] left in the memory.
struct Handle(Arc<Memory>);

impl CustomOp3 for Handle {
    fn name(&self) -> &'static str {
        "conv-norm-parameters"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(Vec::new()), 0.into()))
    }

    fn bwd(
        &self,
        weight: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _handle: &Tensor,
        _gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradients = self.0.gradients.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some([of_weight, of_gamma, of_beta]) = gradients else {
            bail!("parameters were differentiated before their layer")
        };
        Ok((
            Some(like(weight, of_weight)?),
            Some(like(gamma, of_gamma)?),
            Some(like(beta, of_beta)?),
        ))
    }
}

struct ConvNorm {
    geometry: Geometry,
    weight: Tensor,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    relu: bool,
    memory: Arc<Memory>,
}

impl ConvNorm {
    fn forward(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        residual: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let (geometry, x) = (&self.geometry, floats(x, layout)?);
        let output = geometry.output();
        if residual.is_some_and(|residual| residual.len() != output.len()) {
            bail!("the residual of {:?} has another shape", layout.shape())
        }
        let convolved = with_floats([&self.weight], |[weight]| {
            Ok(Forward::new(geometry, weight).apply(geometry, x, Epilogue::default()))
        })?;
        let moments = normalise::moments(geometry.c_out, &convolved);
        let inverse = |(_, variance): &(f64, f64)| (1.0 / (variance + EPS).sqrt()) as f32;
        let norm = Channels {
            mean: moments.iter().map(|(mean, _)| *mean as f32).collect(),
            inverse: moments.iter().map(inverse).collect(),
            gamma: self.gamma.clone(),
            beta: self.beta.clone(),
        };
        let y = normalise::forward(&norm, &convolved, residual, self.relu);
        let saved = Saved {
            convolved,
            norm,
            moments,
        };
        if self.memory.saved.set(saved).is_err() {
            bail!("a normalisation was computed twice")
        }
        let shape = (output.images, output.height, output.width, output.channels);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    /// Gradients of x, of the handle and, if there is one, of the residual.
    fn backward(
        &self,
        x: &Tensor,
        handle: &Tensor,
        residual: bool,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let geometry = &self.geometry;
        let Saved {
            convolved, norm, ..
        } = self.memory.saved()?;
        let ((slopes, behind), sums) = with_floats([y, gradient], |[values, gradient]| {
            let output = Output {
                x: convolved,
                y: values,
                gradient,
                relu: self.relu,
            };
            let sums = normalise::parameter_gradients(norm, output);
            let gated = residual && self.relu;
            Ok((normalise::input_gradient(norm, output, &sums, gated), sums))
        })?;
        let of_residual = match (residual, self.relu) {
            (false, _) => None,
            (true, false) => Some(gradient.clone()),
            (true, true) => Some(like(y, behind)?),
        };
        if handle.track_op() {
            let of_weight = with_floats([x], |[x]| {
                Ok(convolve::weight_gradient(geometry, x, &slopes))
            })?;
            let mut gradients = self.memory.gradients.lock().unwrap_or_else(PoisonError::into_inner);
            *gradients = Some([of_weight, sums.gamma, sums.beta]);
        }
        let of_x = || {
            let values = with_floats([&self.weight], |[weight]| {
                Ok(Backward::new(geometry, weight).apply(geometry, &slopes, None))
            })?;
            like(x, values)
        };
        Ok((
            x.track_op().then(of_x).transpose()?,
            handle.track_op().then(|| handle.zeros_like()).transpose()?,
            of_residual,
        ))
    }
}

impl CustomOp2 for ConvNorm {
    fn name(&self) -> &'static str {
        "conv-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        _handle: &CpuStorage,
        _layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(x, x_layout, None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        handle: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_handle, _) = self.backward(x, handle, false, y, gradient)?;
        Ok((of_x, of_handle))
    }
}

impl CustomOp3 for ConvNorm {
    fn name(&self) -> &'static str {
        "conv-norm-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        _handle: &CpuStorage,
        _layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = floats(residual, residual_layout)?;
        self.forward(x, x_layout, Some(residual))
    }

    fn bwd(
        &self,
        x: &Tensor,
        handle: &Tensor,
        _residual: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        self.backward(x, handle, true, y, gradient)
    }
}
