//! Convolutions and transposed convolutions with a bias.

mod fused;
mod graph;
mod im2col;
mod problem;
#[cfg(test)]
mod tests;
mod weights;

use candle_core::{CudaStorage, Result, Tensor};

pub use graph::graph;
pub use problem::Problem;
pub use weights::{PackedWeights, weight_gradient};

use super::{
    Argument, MapType, channel_sums,
    elementwise::epilogue,
    feature_map::{enter, first_channels, leave, map_type, padded, tensor, with_storages},
};
use crate::{
    ComputeOptions,
    ops::conv::{ConvGeometry, tensor_shape},
};

/// The result for input, weight and bias.
pub fn conv(
    geometry: &ConvGeometry,
    options: ComputeOptions,
    [x, weight, bias]: [Argument; 3],
) -> Result<CudaStorage> {
    let [input, output] = geometry.ends();
    let x_type = map_type(x.0)?;
    let x = enter(x.0, x.1, input.channels, MapType::of(options))?;
    let packed = PackedWeights::new(weight, options)?;
    let shift = enter(bias.0, bias.1, output.channels, MapType::F32)?;
    let y = if geometry.transposed {
        let y = packed.input_gradient(&geometry.shape, &x)?;
        epilogue(&y, Some(&shift), None, false, padded(output.channels))?;
        y
    } else {
        packed.forward_with(&geometry.shape, &x, &shift, None, false)?
    };
    leave(y, output, x_type)
}

/// The gradients of input, weight and bias, as far as they are tracked.
pub fn conv_backward(
    geometry: &ConvGeometry,
    options: ComputeOptions,
    [x, weight, bias]: [&Tensor; 3],
    gradient: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let [input, output] = geometry.ends();
    with_storages([x, gradient, weight], |[x_map, gradient, weights]| {
        let x_type = map_type(x_map.0)?;
        let inner = MapType::of(options);
        let x_map = enter(x_map.0, x_map.1, input.channels, inner)?;
        let gradient = enter(gradient.0, gradient.1, output.channels, inner)?;
        let grad_x = || -> Result<Tensor> {
            let packed = PackedWeights::new(weights, options)?;
            let grad_x = if geometry.transposed {
                packed.forward(&geometry.shape, &gradient)
            } else {
                packed.input_gradient(&geometry.shape, &gradient)
            }?;
            Ok(tensor(leave(grad_x, input, x_type)?, tensor_shape(input)))
        };
        let grad_weight = || -> Result<Tensor> {
            let (x, y) = if geometry.transposed {
                (&gradient, &x_map)
            } else {
                (&x_map, &gradient)
            };
            let gradient = weight_gradient(&geometry.shape, x, y, options)?;
            Ok(tensor(gradient, weight.shape()))
        };
        let grad_bias = || {
            let sums = channel_sums::channel_sums(&gradient, padded(output.channels))?;
            first_channels(sums, output.channels)?.reshape(bias.shape())
        };
        Ok([
            x.track_op().then(grad_x).transpose()?,
            weight.track_op().then(grad_weight).transpose()?,
            bias.track_op().then(grad_bias).transpose()?,
        ])
    })
}
