//! Dropout: the mask is computed where it is applied, forward and backward.

use candle_core::{CudaStorage, Result};

use super::{
    Argument, MapType,
    feature_map::{address_of, alloc, f32_address},
    module::{self, KernelArg},
};
use crate::DropoutMask;

/// `x` times the mask's factors.
pub fn dropout((x, layout): Argument, mask: DropoutMask) -> Result<CudaStorage> {
    let len = layout.shape().elem_count();
    let y = alloc(&x.device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(f32_address(x, layout)?),
        KernelArg::Bits(mask.key()),
        KernelArg::Bits32(mask.threshold()),
        KernelArg::Float(mask.scale()),
        KernelArg::Address(address_of(&y)?),
        KernelArg::long(len)?,
    ];
    // SAFETY: both have `len` elements.
    unsafe { module::for_each(&x.device, "dropout_f32", len, &arguments) }?;
    Ok(y)
}
