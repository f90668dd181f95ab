//! Batch normalization as an operation of its own, by the kernels of `norm`.

use candle_core::{CudaStorage, Layout, Result, Tensor};

use super::{
    Kind,
    filter::numbers,
    map::{self, enter, first, kind, leave, padded, tensor, with_storages},
    norm::{self, Channels},
};
use crate::convolution::{pictures, shape};

/// Normalizes `x` `[B,H,W,C]` with its own statistics: the result, and `[C]` means, biased variances
/// and `1 / sqrt(variance + eps)`.
pub fn batch_norm_train(
    (x, layout): (&CudaStorage, &Layout),
    parameters: [(&CudaStorage, &Layout); 2],
    eps: f64,
) -> Result<(CudaStorage, [Tensor; 3])> {
    let (size, kind) = (pictures(layout.shape())?, kind(x)?);
    let channels = size.channels;
    let x = enter(x, layout, channels, kind)?;
    let [gamma, beta] =
        parameters.map(|(storage, layout)| enter(storage, layout, channels, Kind::F32));
    let (gamma, beta) = (gamma?, beta?);
    let moments = norm::moments(&x, padded(channels), eps)?;
    let scale = Channels {
        mean: &moments.mean,
        inverse: &moments.inverse,
        gamma: &gamma,
    };
    let y = norm::forward(&x, scale, &beta, None, false)?;
    let stats = [
        first(moments.mean, channels)?,
        first(moments.variance, channels)?,
        first(moments.inverse, channels)?,
    ];
    Ok((leave(y, size, kind)?, stats))
}

/// The gradients of `x`, and of gamma and beta, from that of the result; `[mean, inverse, gamma]` are
/// `[C]`.
pub fn batch_norm_backward(
    x: &Tensor,
    channels: [&Tensor; 3],
    gradient: &Tensor,
) -> Result<(Tensor, [Tensor; 2])> {
    let size = pictures(x.shape())?;
    let [mean, inverse, gamma] = channels.map(numbers);
    let (mean, inverse, gamma) = (mean?, inverse?, gamma?);
    with_storages([x, gradient], |[x, gradient]| {
        let kind = kind(x.0)?;
        let x = enter(x.0, x.1, size.channels, kind)?;
        let gradient = enter(gradient.0, gradient.1, size.channels, kind)?;
        let scale = Channels {
            mean: &mean,
            inverse: &inverse,
            gamma: &gamma,
        };
        let ([grad_gamma, grad_beta], grad_x) = norm::backward(&x, scale, &gradient)?;
        let parameters = [
            first(grad_gamma, size.channels)?,
            first(grad_beta, size.channels)?,
        ];
        Ok((tensor(leave(grad_x, size, kind)?, shape(size)), parameters))
    })
}

/// `(x - mean) * inverse * gamma + beta` of `x` `[B,H,W,C]`, by constants `[C]` in this order.
pub fn batch_norm_eval(
    (x, layout): (&CudaStorage, &Layout),
    channels: [&Tensor; 4],
) -> Result<CudaStorage> {
    let (size, kind) = (pictures(layout.shape())?, map::kind(x)?);
    let x = enter(x, layout, size.channels, kind)?;
    let [mean, inverse, gamma, beta] = channels.map(numbers);
    let (mean, inverse, gamma) = (mean?, inverse?, gamma?);
    let scale = Channels {
        mean: &mean,
        inverse: &inverse,
        gamma: &gamma,
    };
    leave(norm::forward(&x, scale, &beta?, None, false)?, size, kind)
}
