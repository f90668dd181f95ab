//! CPU tensors as slices: contiguous f32 tensors come in, slices go out, without a copy; and values become
//! tensors again.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The floats of a contiguous CPU storage.
pub fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "a contiguous tensor is needed, found strides {:?}",
            layout.stride()
        )
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `f` with the floats of CPU tensors.
pub fn with_floats<T, const N: usize>(
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
            Storage::Cpu(storage) => floats(storage, layout)?,
            _ => bail!("a tensor on the CPU is needed"),
        };
    }
    f(slices)
}

/// A new tensor like another, of these values.
pub fn like(tensor: &Tensor, values: Vec<f32>) -> Result<Tensor> {
    Tensor::from_vec(values, tensor.shape(), tensor.device())
}
