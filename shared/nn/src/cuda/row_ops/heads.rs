//! Operations that order tokens: heads of attention, and the embedding.

use candle_core::{CudaStorage, Result, Tensor};

use super::{
    super::{
        Argument, MapType,
        feature_map::{address_of, alloc, f32_address, tensor, typed_address, with_storages},
        module::{self, KernelArg},
    },
    mask_parts,
};
use crate::DropoutMask;

/// `[B,N,P*H*S]` plus `bias` `[P*H*S]`, if there is one, as `[P,B,H,N,S]`.
pub fn split_heads(
    x: &Tensor,
    bias: Option<&Tensor>,
    [parts, heads]: [usize; 2],
) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    let (size, len) = (width / (parts * heads), x.elem_count());
    with_storages([x, bias.unwrap_or(x)], |[x, of_bias]| {
        let device = &x.0.device;
        let (map_type, x) = typed_address(x.0, x.1)?;
        let y = alloc(device, map_type, len)?;
        let bias = bias.map_or(Ok(0), |_| f32_address(of_bias.0, of_bias.1))?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(bias),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(parts)?,
            KernelArg::int(heads)?,
            KernelArg::int(tokens)?,
            KernelArg::int(size)?,
            KernelArg::long(len)?,
        ];
        let name = format!("split_heads_{}", map_type.suffix());
        // SAFETY: x and y are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(tensor(y, &[parts, batch, heads, tokens, size][..]))
    })
}

/// `[P,B,H,N,S]` as `[B,N,P*H*S]`.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (parts, batch, heads, tokens, size) = x.dims5()?;
    let len = x.elem_count();
    with_storages([x], |[(x, layout)]| {
        let (map_type, address) = typed_address(x, layout)?;
        let y = alloc(&x.device, map_type, len)?;
        let arguments = [
            KernelArg::Address(address),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(parts)?,
            KernelArg::int(heads)?,
            KernelArg::int(tokens)?,
            KernelArg::int(size)?,
            KernelArg::long(len)?,
        ];
        let name = format!("merge_heads_{}", map_type.suffix());
        // SAFETY: both are of one size.
        unsafe { module::for_each(&x.device, &name, len, &arguments) }?;
        Ok(tensor(y, (batch, tokens, parts * heads * size)))
    })
}

/// `class` `[1,1,D]` and then the tokens `x` `[B,N,D]`, plus `positions` `[1,N+1,D]`, with dropout: `[B,N+1,D]`.
pub fn embed(
    x: Argument,
    class: Argument,
    positions: Argument,
    mask: Option<DropoutMask>,
) -> Result<CudaStorage> {
    let (device, width) = (&x.0.device, class.1.shape().elem_count());
    let image_len = positions.1.shape().elem_count();
    let len = x.1.shape().elem_count() / (image_len - width) * image_len;
    let (key, threshold, kept) = mask_parts(mask);
    let y = alloc(device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(f32_address(x.0, x.1)?),
        KernelArg::Address(f32_address(class.0, class.1)?),
        KernelArg::Address(f32_address(positions.0, positions.1)?),
        KernelArg::Bits(key),
        KernelArg::Bits32(threshold),
        KernelArg::Float(kept),
        KernelArg::Address(address_of(&y)?),
        KernelArg::int(width)?,
        KernelArg::int(image_len)?,
        KernelArg::long(len)?,
    ];
    // SAFETY: x has `image_len - width` numbers for each image, y has `image_len`, as have the positions.
    unsafe { module::for_each(device, "embed", len, &arguments) }?;
    Ok(y)
}
