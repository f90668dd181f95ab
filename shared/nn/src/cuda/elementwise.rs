//! ReLU, and the epilogue of convolutions: shift, residual and ReLU in one pass, and their gradients'.

use candle_core::{CudaStorage, Result, Tensor};

use super::{
    Argument,
    feature_map::{
        self, MapRef, address_of, alloc, copy, enter, leave, map_type, optional_address, padded,
        tensor, with_storages,
    },
    module::{self, KernelArg},
};
use crate::ops::conv::{nhwc_shape, tensor_shape};

/// `max(x, 0)` of `[B,H,W,C]`; a NaN stays one.
pub fn relu((x, layout): Argument) -> Result<CudaStorage> {
    let (shape, map_type) = (nhwc_shape(layout.shape())?, map_type(x)?);
    let y = match enter(x, layout, shape.channels, map_type)? {
        MapRef::Owned(y) => y,
        MapRef::Borrowed(x) => copy(x)?,
    };
    epilogue(&y, None, None, true, padded(shape.channels))?;
    leave(y, shape, map_type)
}

/// `gradient` where the ReLU's result `y` is positive, zero elsewhere.
pub fn relu_backward(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let shape = nhwc_shape(y.shape())?;
    with_storages([y, gradient], |[y, gradient]| {
        let map_type = map_type(y.0)?;
        let y = enter(y.0, y.1, shape.channels, map_type)?;
        let gradient = enter(gradient.0, gradient.1, shape.channels, map_type)?;
        let grad_x = leave(masked_gradient(&y, &gradient)?, shape, map_type)?;
        Ok(tensor(grad_x, tensor_shape(shape)))
    })
}

/// The gradient of a ReLU's input, from its result `y`, of maps inside an operation.
pub fn masked_gradient(y: &CudaStorage, gradient: &CudaStorage) -> Result<CudaStorage> {
    let grad_x = alloc(&y.device, map_type(y)?, feature_map::len(y))?;
    gradient_epilogue(gradient, None, Some(y), &grad_x)?;
    Ok(grad_x)
}

/// `y = relu(y + shift + residual)`, in place; all but `y` are optional.
pub fn epilogue(
    y: &CudaStorage,
    shift: Option<&CudaStorage>,
    residual: Option<&CudaStorage>,
    relu: bool,
    channels: usize,
) -> Result<()> {
    let len = feature_map::len(y) / 8;
    let arguments = [
        KernelArg::Address(address_of(y)?),
        optional_address(shift)?,
        optional_address(residual)?,
        KernelArg::Int(relu.into()),
        KernelArg::int(channels / 8)?,
        KernelArg::long(len)?,
    ];
    let name = format!("epilogue_{}", map_type(y)?.suffix());
    // SAFETY: y and residual are maps of one size, shift has a number for each channel.
    unsafe { module::for_each(&y.device, &name, len, &arguments) }
}

/// `gradient + residual` where `relu_output` is positive, zero elsewhere; `into` may be `gradient`.
pub fn gradient_epilogue(
    gradient: &CudaStorage,
    residual: Option<&CudaStorage>,
    relu_output: Option<&CudaStorage>,
    into: &CudaStorage,
) -> Result<()> {
    let len = feature_map::len(gradient) / 8;
    let arguments = [
        KernelArg::Address(address_of(gradient)?),
        optional_address(residual)?,
        optional_address(relu_output)?,
        KernelArg::Address(address_of(into)?),
        KernelArg::long(len)?,
    ];
    let name = format!("gradient_epilogue_{}", map_type(gradient)?.suffix());
    // SAFETY: all are maps of one size.
    unsafe { module::for_each(&gradient.device, &name, len, &arguments) }
}
