//! Contiguous f32 CPU tensors as slices, without a copy.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The elements of a contiguous CPU storage.
pub fn as_f32<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "a contiguous tensor is needed, found strides {:?}",
            layout.stride()
        )
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The same, to be changed.
pub fn as_f32_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((start, end))) => Ok(&mut all[start..end]),
        _ => bail!("contiguous f32 is needed"),
    }
}

/// Calls `f` with the elements of CPU tensors.
pub fn with_f32<T, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<T>,
) -> Result<T> {
    let tensors = tensors.map(Tensor::contiguous);
    let mut guards = Vec::with_capacity(N);
    for tensor in &tensors {
        match tensor {
            Ok(tensor) => guards.push(tensor.storage_and_layout()),
            Err(error) => bail!("{error}"),
        }
    }
    let mut slices = [[].as_slice(); N];
    for ((storage, layout), slice) in guards.iter().zip(&mut slices) {
        *slice = match &**storage {
            Storage::Cpu(storage) => as_f32(storage, layout)?,
            _ => bail!("a tensor on the CPU is needed"),
        };
    }
    f(slices)
}

/// A new tensor of the shape and on the device of another.
pub fn tensor_like(tensor: &Tensor, values: Vec<f32>) -> Result<Tensor> {
    Tensor::from_vec(values, tensor.shape(), tensor.device())
}
