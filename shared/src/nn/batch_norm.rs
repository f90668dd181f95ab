//! Batch normalisation with the residual and the ReLU that follow it, differentiable: a
//! `[B,C,H,W]` tensor and per-channel numbers come in, the activated tensor goes out. On the CPU
//! it is one pass forward and two backward; on CUDA it is composed of candle's operations.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

use super::{
    cpu::planes::{self, Channel, Planes},
    host::{floats, with_floats},
};

/// PyTorch's default.
pub const EPS: f64 = 1e-5;

/// Mean and biased variance of each channel of `[B,C,H,W]`, each `[C]`, as constants.
pub fn moments(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let x = x.detach();
    if !x.device().is_cpu() {
        let flat = x.transpose(0, 1)?.flatten_from(1)?;
        let mean = flat.mean_keepdim(D::Minus1)?;
        let variance = flat.broadcast_sub(&mean)?.sqr()?.mean(D::Minus1)?;
        return Ok((mean.squeeze(D::Minus1)?, variance));
    }
    let sizes = sizes(x.dims())?;
    let moments = with_floats([&x], |[x]| Ok(planes::moments(sizes, x)))?;
    let (mean, variance): (Vec<f32>, Vec<f32>) = moments
        .into_iter()
        .map(|(mean, variance)| (mean as f32, variance as f32))
        .unzip();
    Ok((
        Tensor::from_vec(mean, sizes.channels, x.device())?,
        Tensor::from_vec(variance, sizes.channels, x.device())?,
    ))
}

/// Where the mean and the variance come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// From the batch itself: they are differentiated.
    Batch,
    /// From earlier batches: they are constants.
    Running,
}

/// What normalises each channel, all `[C]`.
#[derive(Clone, Debug)]
pub struct Normalisation {
    /// Factor.
    pub gamma: Tensor,
    /// Shift.
    pub beta: Tensor,
    /// Taken away first.
    pub mean: Tensor,
    /// Divided by, as `sqrt(variance + EPS)`.
    pub variance: Tensor,
}

/// `activate((x - mean) / sqrt(variance + EPS) * gamma + beta + residual)`, where `activate` is
/// the ReLU if `relu` is set. With [`Statistics::Batch`], mean and variance must be the
/// [`moments`] of `x`.
pub fn batch_norm(
    x: &Tensor,
    norm: &Normalisation,
    statistics: Statistics,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return stock(x, norm, statistics, residual, relu);
    }
    let op = BatchNorm {
        channels: channels(norm)?,
        statistics,
        relu,
    };
    let parameters = Tensor::stack(&[&norm.gamma, &norm.beta], 0)?;
    let x = x.contiguous()?;
    match residual {
        None => x.apply_op2(&parameters, op),
        Some(residual) => x.apply_op3(&parameters, &residual.contiguous()?, op),
    }
}

/// The numbers of each channel.
pub(super) fn channels(norm: &Normalisation) -> Result<Vec<Channel>> {
    let values = |tensor: &Tensor| tensor.to_vec1::<f32>();
    let (gamma, beta) = (values(&norm.gamma)?, values(&norm.beta)?);
    let (mean, variance) = (values(&norm.mean)?, values(&norm.variance)?);
    let count = gamma.len();
    if [beta.len(), mean.len(), variance.len()] != [count; 3] {
        bail!("batch_norm with channels of different numbers")
    }
    let channel = |c: usize| Channel {
        mean: mean[c],
        inverse: (1.0 / (f64::from(variance[c]) + EPS).sqrt()) as f32,
        gamma: gamma[c],
        beta: beta[c],
    };
    Ok((0..count).map(channel).collect())
}

/// The gradient behind the ReLU, if there is one.
pub(super) fn behind_relu(y: &Tensor, gradient: &Tensor, relu: bool) -> Result<Tensor> {
    if !relu {
        return Ok(gradient.clone());
    }
    let values = with_floats([y, gradient], |[y, g]| Ok(planes::through_relu(y, g)))?;
    Tensor::from_vec(values, y.shape(), y.device())
}

/// The same from candle's operations, for CUDA and as a reference for tests.
pub(super) fn stock(
    x: &Tensor,
    norm: &Normalisation,
    statistics: Statistics,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let per_channel = |t: &Tensor| t.reshape((1, (), 1, 1));
    let (mean, variance) = match statistics {
        Statistics::Running => (per_channel(&norm.mean)?, per_channel(&norm.variance)?),
        Statistics::Batch => {
            let over = |t: &Tensor| t.mean_keepdim(0)?.mean_keepdim(2)?.mean_keepdim(3);
            let mean = over(x)?;
            let variance = over(&x.broadcast_sub(&mean)?.sqr()?)?;
            (mean, variance)
        }
    };
    let normal = x
        .broadcast_sub(&mean)?
        .broadcast_div(&(variance + EPS)?.sqrt()?)?;
    let mut y = normal
        .broadcast_mul(&per_channel(&norm.gamma)?)?
        .broadcast_add(&per_channel(&norm.beta)?)?;
    if let Some(residual) = residual {
        y = (y + residual)?;
    }
    if relu { y.relu() } else { Ok(y) }
}

fn sizes(dims: &[usize]) -> Result<Planes> {
    match *dims {
        [images, channels, height, width] => Ok(Planes {
            images,
            channels,
            positions: height * width,
        }),
        _ => bail!("batch_norm takes [B,C,H,W], found {dims:?}"),
    }
}

/// Takes gamma and beta, stacked, as an argument for their gradients' sake; their values stand in
/// `channels`.
struct BatchNorm {
    channels: Vec<Channel>,
    statistics: Statistics,
    relu: bool,
}

impl BatchNorm {
    fn forward(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = sizes(x_layout.dims())?;
        let x = floats(x, x_layout)?;
        if self.channels.len() != sizes.channels
            || residual.is_some_and(|residual| residual.len() != x.len())
        {
            bail!("batch_norm of {:?} with other sizes", x_layout.dims())
        }
        let y = planes::forward(sizes, &self.channels, x, residual, self.relu);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    /// Gradients of x and of the parameters, where asked for, and the gradient behind the ReLU,
    /// which is the residual's.
    fn backward(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Tensor)> {
        let sizes = sizes(x.dims())?;
        let gradient = behind_relu(y, gradient, self.relu)?;
        let from_batch = self.statistics == Statistics::Batch;
        let (of_x, sums) = with_floats([x, &gradient], |[values, g]| {
            let channels = &self.channels;
            let sums = (from_batch || parameters.track_op())
                .then(|| planes::parameter_gradients(sizes, channels, values, g));
            let of_x = x.track_op().then(|| {
                let through = sums.as_deref().filter(|_| from_batch);
                planes::input_gradient(sizes, channels, values, g, through)
            });
            Ok((of_x, sums))
        })?;
        let of_x = of_x
            .map(|values| Tensor::from_vec(values, x.shape(), x.device()))
            .transpose()?;
        let of_parameters = sums
            .map(|sums| {
                let gamma = sums.iter().map(|sum| sum.gamma);
                let packed = gamma.chain(sums.iter().map(|sum| sum.beta)).collect();
                Tensor::from_vec(packed, (2, sizes.channels), x.device())
            })
            .transpose()?;
        Ok((of_x, of_parameters, gradient))
    }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        _parameters: &CpuStorage,
        _layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(x, x_layout, None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_parameters, _) = self.backward(x, parameters, y, gradient)?;
        Ok((of_x, of_parameters))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        _parameters: &CpuStorage,
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
        parameters: &Tensor,
        _residual: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_parameters, of_residual) = self.backward(x, parameters, y, gradient)?;
        Ok((of_x, of_parameters, Some(of_residual)))
    }
}
