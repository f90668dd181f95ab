//! Batch normalization of feature maps. Values per channel are f32, one for each padded channel.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    Argument, MapType,
    channel_sums::{BlockSplit, Size, partial_sums, sum_blocks},
    feature_map::{
        self, address_of, alloc, enter, first_channels, leave, map_type, optional_address, padded,
        tensor, tensor_address, with_channels, with_storages,
    },
    module::{self, KernelArg},
};
use crate::{
    RunningStatistics,
    ops::conv::{nhwc_shape, tensor_shape},
};

/// Statistics per channel before normalization.
pub struct ChannelMoments {
    /// Mean.
    pub mean: CudaStorage,
    /// 1 / sqrt(biased variance + eps).
    pub inverse: CudaStorage,
}

impl ChannelMoments {
    /// The normalization by them.
    pub fn params<'a>(&'a self, gamma: &'a CudaStorage) -> ChannelParams<'a> {
        ChannelParams {
            mean: &self.mean,
            inverse: &self.inverse,
            gamma,
        }
    }
}

/// The moments of `[positions, channels]`, towards which the running statistics move, in place.
pub fn moments(
    x: &CudaStorage,
    channels: usize,
    eps: f64,
    running: &RunningStatistics,
) -> Result<ChannelMoments> {
    let (device, suffix) = (&x.device, map_type(x)?.suffix());
    let [moved, variances] = [&running.mean, &running.variance].map(Tensor::elem_count);
    if moved != variances || padded(moved) != channels {
        bail!("{channels} channels with {running:?}")
    }
    let size = Size::of(x, channels);
    let split = BlockSplit::new(size);
    let partial = partial_sums(device, size, &split)?;
    let arguments = [
        KernelArg::Address(address_of(x)?),
        KernelArg::int(size.positions)?,
        KernelArg::int(split.rows)?,
        KernelArg::int(size.eights())?,
        KernelArg::int(split.wide)?,
        KernelArg::Address(address_of(&partial)?),
    ];
    let name = format!("sum_moments_{suffix}");
    // SAFETY: the maps are of the size; `partial` has two values for each block and channel.
    unsafe { module::launch(device, &name, split.grid, &arguments) }?;
    let values = || alloc(device, MapType::F32, channels);
    let moments = ChannelMoments {
        mean: values()?,
        inverse: values()?,
    };
    let arguments = [
        KernelArg::Address(address_of(&partial)?),
        KernelArg::int(split.blocks)?,
        KernelArg::Address(address_of(x)?),
        KernelArg::int(size.positions)?,
        KernelArg::int(channels)?,
        KernelArg::Double(eps),
        KernelArg::Address(address_of(&moments.mean)?),
        KernelArg::Address(address_of(&moments.inverse)?),
        KernelArg::Address(tensor_address(&running.mean)?),
        KernelArg::Address(tensor_address(&running.variance)?),
        KernelArg::int(moved)?,
    ];
    let name = format!("finish_moments_{suffix}");
    // SAFETY: all are of the sizes above; the running statistics are live tensors of `moved` numbers, which
    // nothing else writes.
    unsafe { module::launch(device, &name, sum_blocks(channels), &arguments) }?;
    Ok(moments)
}

/// A normalization, per channel.
#[derive(Clone, Copy)]
pub struct ChannelParams<'a> {
    /// Subtracted.
    pub mean: &'a CudaStorage,
    /// 1 / deviation.
    pub inverse: &'a CudaStorage,
    /// Factor.
    pub gamma: &'a CudaStorage,
}

/// `relu((x - mean) * inverse * gamma + beta + residual)`; residual and ReLU are optional.
pub fn forward(
    x: &CudaStorage,
    norm: ChannelParams,
    beta: &CudaStorage,
    residual: Option<&CudaStorage>,
    relu: bool,
) -> Result<CudaStorage> {
    let map_type = map_type(x)?;
    let size = Size::of(x, feature_map::len(norm.mean));
    let y = alloc(&x.device, map_type, feature_map::len(x))?;
    let arguments = [
        KernelArg::Address(address_of(x)?),
        optional_address(residual)?,
        KernelArg::Address(address_of(norm.mean)?),
        KernelArg::Address(address_of(norm.inverse)?),
        KernelArg::Address(address_of(norm.gamma)?),
        KernelArg::Address(address_of(beta)?),
        KernelArg::Int(relu.into()),
        KernelArg::Address(address_of(&y)?),
        KernelArg::int(size.eights())?,
        KernelArg::long(size.len())?,
    ];
    let name = format!("normalize_{}", map_type.suffix());
    // SAFETY: x, residual and y are maps of one size, the others values per channel.
    unsafe { module::for_each(&x.device, &name, size.len(), &arguments) }?;
    Ok(y)
}

/// The gradients of gamma and beta, and that of `x`, from that of the normalized `x` or, with the beta of a
/// normalization with ReLU, from that of the ReLU's result.
pub fn backward(
    x: &CudaStorage,
    norm: ChannelParams,
    relu_beta: Option<&CudaStorage>,
    gradient: &CudaStorage,
) -> Result<([CudaStorage; 2], CudaStorage)> {
    let (device, map_type) = (&x.device, map_type(x)?);
    let suffix = map_type.suffix();
    let channels = feature_map::len(norm.mean);
    let size = Size::of(x, channels);
    let split = BlockSplit::new(size);
    let partial = partial_sums(device, size, &split)?;
    let arguments = [
        KernelArg::Address(address_of(x)?),
        KernelArg::Address(address_of(gradient)?),
        KernelArg::Address(address_of(norm.mean)?),
        KernelArg::Address(address_of(norm.inverse)?),
        KernelArg::Address(address_of(norm.gamma)?),
        optional_address(relu_beta)?,
        KernelArg::int(size.positions)?,
        KernelArg::int(split.rows)?,
        KernelArg::int(size.eights())?,
        KernelArg::int(split.wide)?,
        KernelArg::Address(address_of(&partial)?),
    ];
    let name = format!("sum_gradients_{suffix}");
    // SAFETY: the maps are of the size, the others values per channel; `partial` has two for each block.
    unsafe { module::launch(device, &name, split.grid, &arguments) }?;
    let grad_gamma = alloc(device, MapType::F32, channels)?;
    let grad_beta = alloc(device, MapType::F32, channels)?;
    let arguments = [
        KernelArg::Address(address_of(&partial)?),
        KernelArg::int(split.blocks)?,
        KernelArg::int(channels)?,
        KernelArg::Address(address_of(norm.inverse)?),
        KernelArg::Address(address_of(&grad_gamma)?),
        KernelArg::Address(address_of(&grad_beta)?),
    ];
    // SAFETY: all are of the sizes above.
    unsafe { module::launch(device, "finish_gradients", sum_blocks(channels), &arguments) }?;

    let grad_x = alloc(device, map_type, feature_map::len(x))?;
    let arguments = [
        KernelArg::Address(address_of(x)?),
        KernelArg::Address(address_of(gradient)?),
        KernelArg::Address(address_of(norm.mean)?),
        KernelArg::Address(address_of(norm.inverse)?),
        KernelArg::Address(address_of(norm.gamma)?),
        optional_address(relu_beta)?,
        KernelArg::Address(address_of(&grad_gamma)?),
        KernelArg::Address(address_of(&grad_beta)?),
        KernelArg::Float((1.0 / size.positions as f64) as f32),
        KernelArg::Address(address_of(&grad_x)?),
        KernelArg::int(size.eights())?,
        KernelArg::long(size.len())?,
    ];
    let name = format!("input_gradient_{suffix}");
    // SAFETY: x, gradient and grad_x are maps of one size, the others values per channel.
    unsafe { module::for_each(device, &name, size.len(), &arguments) }?;
    Ok(([grad_gamma, grad_beta], grad_x))
}

/// Normalizes `x` `[B,H,W,C]` with its own statistics: the result, and `[C]` means and
/// `1 / sqrt(variance + eps)`. Moves the running statistics.
pub fn batch_norm_train(
    (x, layout): Argument,
    parameters: [Argument; 2],
    eps: f64,
    running: &RunningStatistics,
) -> Result<(CudaStorage, [Tensor; 2])> {
    let (size, map_type) = (nhwc_shape(layout.shape())?, map_type(x)?);
    let channels = size.channels;
    let x = enter(x, layout, channels, map_type)?;
    let [gamma, beta] =
        parameters.map(|(storage, layout)| enter(storage, layout, channels, MapType::F32));
    let (gamma, beta) = (gamma?, beta?);
    let moments = moments(&x, padded(channels), eps, running)?;
    let y = forward(&x, moments.params(&gamma), &beta, None, false)?;
    let norm = [
        first_channels(moments.mean, channels)?,
        first_channels(moments.inverse, channels)?,
    ];
    Ok((leave(y, size, map_type)?, norm))
}

/// The gradients of `x`, and of gamma and beta, from that of the result; `[mean, inverse, gamma]` are
/// `[C]`.
pub fn batch_norm_backward(
    x: &Tensor,
    channels: [&Tensor; 3],
    gradient: &Tensor,
) -> Result<(Tensor, [Tensor; 2])> {
    let size = nhwc_shape(x.shape())?;
    with_storages([x, gradient], |[x, gradient]| {
        let map_type = map_type(x.0)?;
        let x = enter(x.0, x.1, size.channels, map_type)?;
        let gradient = enter(gradient.0, gradient.1, size.channels, map_type)?;
        let ([grad_gamma, grad_beta], grad_x) =
            with_channels(channels, |[mean, inverse, gamma]| {
                let scale = ChannelParams {
                    mean,
                    inverse,
                    gamma,
                };
                backward(&x, scale, None, &gradient)
            })?;
        let parameters = [
            first_channels(grad_gamma, size.channels)?,
            first_channels(grad_beta, size.channels)?,
        ];
        Ok((
            tensor(leave(grad_x, size, map_type)?, tensor_shape(size)),
            parameters,
        ))
    })
}

/// `(x - mean) * inverse * gamma + beta` of `x` `[B,H,W,C]`, by constants `[C]` in this order.
pub fn batch_norm_eval((x, layout): Argument, channels: [&Tensor; 4]) -> Result<CudaStorage> {
    let (size, map_type) = (nhwc_shape(layout.shape())?, map_type(x)?);
    let x = enter(x, layout, size.channels, map_type)?;
    let y = with_channels(channels, |[mean, inverse, gamma, beta]| {
        let scale = ChannelParams {
            mean,
            inverse,
            gamma,
        };
        forward(&x, scale, beta, None, false)
    })?;
    leave(y, size, map_type)
}
