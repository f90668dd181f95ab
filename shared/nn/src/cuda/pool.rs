//! Global average pooling.

use candle_core::{CudaStorage, Result, Tensor};

use super::{
    Argument, MapType,
    feature_map::{
        address_of, alloc, enter, f32_address, leave, map_type, padded, tensor, with_storages,
    },
    module::{self, KernelArg},
};
use crate::ops::conv::{nhwc_shape, tensor_shape};

/// The mean over the positions of `x` `[B,H,W,C]`, f32 `[B,C]`.
pub fn average_pool((x, layout): Argument) -> Result<CudaStorage> {
    let (shape, map_type) = (nhwc_shape(layout.shape())?, map_type(x)?);
    let x = enter(x, layout, shape.channels, map_type)?;
    let len = shape.images * shape.channels;
    let y = alloc(&x.device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(address_of(&x)?),
        KernelArg::int(shape.positions())?,
        KernelArg::int(padded(shape.channels))?,
        KernelArg::int(shape.channels)?,
        KernelArg::Address(address_of(&y)?),
        KernelArg::long(len)?,
    ];
    let name = format!("average_pool_{}", map_type.suffix());
    // SAFETY: x is a map of the shape with padded channels, y has a number for each image and channel.
    unsafe { module::for_each(&x.device, &name, len, &arguments) }?;
    Ok(y)
}

/// The gradient of `x` from that of the means.
pub fn average_pool_backward(x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let shape = nhwc_shape(x.shape())?;
    with_storages([x, gradient], |[(x, _), (gradient, layout)]| {
        let map_type = map_type(x)?;
        let len = shape.images * shape.positions() * padded(shape.channels);
        let grad_x = alloc(&x.device, map_type, len)?;
        let arguments = [
            KernelArg::Address(f32_address(gradient, layout)?),
            KernelArg::int(shape.positions())?,
            KernelArg::int(padded(shape.channels))?,
            KernelArg::int(shape.channels)?,
            KernelArg::Address(address_of(&grad_x)?),
            KernelArg::long(len)?,
        ];
        let name = format!("average_pool_backward_{}", map_type.suffix());
        // SAFETY: as in `average_pool`.
        unsafe { module::for_each(&x.device, &name, len, &arguments) }?;
        Ok(tensor(leave(grad_x, shape, map_type)?, tensor_shape(shape)))
    })
}
