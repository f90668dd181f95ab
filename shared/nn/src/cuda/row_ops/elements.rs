//! Operations on single elements: bias, GELU and residual, with dropout.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    super::{
        MapType,
        feature_map::{address_of, alloc, f32_address, tensor, typed_address, with_storages},
        module::{self, KernelArg},
    },
    mask_parts, matrix, same_type,
};
use crate::DropoutMask;

/// `x + bias`, f32.
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<CudaStorage> {
    let (rows, width) = matrix(x)?;
    with_storages([x, bias], |[(x, layout), bias]| {
        let (device, len) = (&x.device, rows * width);
        if bias.1.shape().elem_count() != width {
            bail!("{:?} and a bias {:?}", layout.shape(), bias.1.shape())
        }
        let y = alloc(device, MapType::F32, len)?;
        let (map_type, x) = typed_address(x, layout)?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("add_bias_{}", map_type.suffix());
        // SAFETY: x and y are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(y)
    })
}

/// `drop(gelu(x + bias))`.
pub fn gelu_dropout(x: &Tensor, bias: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    let ((rows, width), (key, threshold, kept)) = (matrix(x)?, mask_parts(mask));
    with_storages([x, bias], |[of_x, bias]| {
        let (device, len) = (&of_x.0.device, rows * width);
        let (map_type, address) = typed_address(of_x.0, of_x.1)?;
        let y = alloc(device, map_type, len)?;
        let arguments = [
            KernelArg::Address(address),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Bits(key),
            KernelArg::Bits32(threshold),
            KernelArg::Float(kept),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("gelu_dropout_{}", map_type.suffix());
        // SAFETY: x and y are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(tensor(y, x.shape()))
    })
}

/// The gradient of `x` in [`gelu_dropout`], in place of that of its result.
pub fn gelu_dropout_backward(
    x: &Tensor,
    bias: &Tensor,
    mask: Option<DropoutMask>,
    gradient: &Tensor,
) -> Result<()> {
    let ((rows, width), (key, threshold, kept)) = (matrix(x)?, mask_parts(mask));
    with_storages([x, bias, gradient], |[x, bias, gradient]| {
        let (device, len) = (&x.0.device, rows * width);
        let (map_type, [x, gradient]) = same_type([x, gradient])?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Bits(key),
            KernelArg::Bits32(threshold),
            KernelArg::Float(kept),
            KernelArg::Address(gradient),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("gelu_dropout_backward_{}", map_type.suffix());
        // SAFETY: x and the gradient are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }
    })
}

/// `residual + drop(x + bias)`, where the residual and the result are f32.
pub fn residual_dropout(
    residual: &Tensor,
    x: &Tensor,
    bias: &Tensor,
    mask: Option<DropoutMask>,
) -> Result<CudaStorage> {
    let ((rows, width), (key, threshold, kept)) = (matrix(x)?, mask_parts(mask));
    with_storages([residual, x, bias], |[residual, x, bias]| {
        let (device, len) = (&x.0.device, rows * width);
        let y = alloc(device, MapType::F32, len)?;
        let (map_type, x) = typed_address(x.0, x.1)?;
        let arguments = [
            KernelArg::Address(f32_address(residual.0, residual.1)?),
            KernelArg::Address(x),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Bits(key),
            KernelArg::Bits32(threshold),
            KernelArg::Float(kept),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("residual_dropout_{}", map_type.suffix());
        // SAFETY: all but bias, which has a number for each column, are of one size.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(y)
    })
}
