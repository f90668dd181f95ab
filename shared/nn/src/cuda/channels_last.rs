//! A classifier's input: pixels with their channels last, normalized, in one launch.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    Argument, MapType,
    feature_map::{address_of, alloc, f32_address, tensor, tensor_address, with_storages},
    module::{self, KernelArg},
};

/// `[B,C,H,W]` as `[B,H,W,C]`, `(x - mean) / std` if there are these `[C]`.
pub fn channels_last(
    (x, layout): Argument,
    normalization: Option<&[Tensor; 2]>,
) -> Result<CudaStorage> {
    let (images, channels, height, width) = layout.shape().dims4()?;
    let len = images * channels * height * width;
    let [mean, std] = match normalization {
        Some([mean, std]) => [mean, std].map(|tensor| channel_address(tensor, channels)),
        None => [Ok(0), Ok(0)],
    };
    let y = alloc(&x.device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(f32_address(x, layout)?),
        KernelArg::int(channels)?,
        KernelArg::int(height * width)?,
        KernelArg::Address(mean?),
        KernelArg::Address(std?),
        KernelArg::Address(address_of(&y)?),
        KernelArg::long(len)?,
    ];
    // SAFETY: both have `len` elements, and mean and std one for each channel or none.
    unsafe { module::for_each(&x.device, "pixels_to_input", len, &arguments) }?;
    Ok(y)
}

/// The gradient `[B,C,H,W]` of the pixels, from that `[B,H,W,C]`.
pub fn channels_last_backward(gradient: &Tensor, std: Option<&Tensor>) -> Result<Tensor> {
    let (images, height, width, channels) = gradient.dims4()?;
    let std = std.map_or(Ok(0), |std| channel_address(std, channels))?;
    with_storages([gradient], |[(gradient, layout)]| {
        let len = images * channels * height * width;
        let grad_x = alloc(&gradient.device, MapType::F32, len)?;
        let arguments = [
            KernelArg::Address(f32_address(gradient, layout)?),
            KernelArg::int(channels)?,
            KernelArg::int(height * width)?,
            KernelArg::Address(std),
            KernelArg::Address(address_of(&grad_x)?),
            KernelArg::long(len)?,
        ];
        // SAFETY: as in `channels_last`.
        unsafe {
            module::for_each(
                &gradient.device,
                "pixels_to_input_backward",
                len,
                &arguments,
            )
        }?;
        Ok(tensor(grad_x, (images, channels, height, width)))
    })
}

/// The address of a number for each channel.
fn channel_address(tensor: &Tensor, channels: usize) -> Result<u64> {
    if tensor.dims() != [channels] {
        bail!("{tensor:?} for {channels} channels")
    }
    tensor_address(tensor)
}
