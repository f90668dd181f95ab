//! Feature maps on the device: between candle's tensors and maps whose channels are padded to a multiple of
//! eight.

use std::ops::Deref;

use candle_core::{
    CudaStorage, DType, Layout, Result, Shape, Storage, Tensor,
    backend::{BackendDevice, BackendStorage},
    bail,
    cuda_backend::{CudaDevice, CudaStorageSlice, cudarc::driver::CudaView},
    op::BackpropOp,
};

use super::{
    MapType, address,
    device_memory::release_memory,
    module::{self, KernelArg},
};
use crate::device_memory;
use base::error::is_out_of_memory;
use kernels::shape::{ConvShape, NhwcShape};

/// Channels with padding.
pub fn padded(channels: usize) -> usize {
    channels.next_multiple_of(8)
}

/// The sizes with padded channels.
pub fn padded_shape(shape: &ConvShape) -> ConvShape {
    ConvShape {
        input: shape.input.with_channels(padded(shape.input.channels)),
        c_out: padded(shape.c_out),
        ..*shape
    }
}

/// The element type.
pub fn map_type(storage: &CudaStorage) -> Result<MapType> {
    match &storage.slice {
        CudaStorageSlice::F32(_) => Ok(MapType::F32),
        CudaStorageSlice::BF16(_) => Ok(MapType::Bf16),
        _ => bail!("f32 or bf16 is needed on CUDA"),
    }
}

/// Number of elements.
pub fn len(storage: &CudaStorage) -> usize {
    match &storage.slice {
        CudaStorageSlice::F32(slice) => slice.len(),
        CudaStorageSlice::BF16(slice) => slice.len(),
        _ => 0,
    }
}

fn dtype(map_type: MapType) -> DType {
    match map_type {
        MapType::F32 => DType::F32,
        MapType::Bf16 => DType::BF16,
    }
}

/// The device address. All work on a device is done in the order of one stream, so nothing
/// has to be waited for.
pub fn address_of(storage: &CudaStorage) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    match &storage.slice {
        CudaStorageSlice::F32(slice) => Ok(address(slice, &stream).0),
        CudaStorageSlice::BF16(slice) => Ok(address(slice, &stream).0),
        CudaStorageSlice::U8(slice) => Ok(address(slice, &stream).0),
        CudaStorageSlice::U32(slice) => Ok(address(slice, &stream).0),
        _ => bail!("elements of a type that no kernel reads"),
    }
}

/// The device address of a contiguous f32 tensor.
pub fn f32_address(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    match (map_type(storage)?, layout.contiguous_offsets()) {
        (MapType::F32, Some((start, _))) => Ok(address_of(storage)? + 4 * start as u64),
        _ => bail!("contiguous f32 is needed"),
    }
}

/// Element type and device address of a contiguous tensor.
pub fn typed_address(storage: &CudaStorage, layout: &Layout) -> Result<(MapType, u64)> {
    let map_type = map_type(storage)?;
    match layout.contiguous_offsets() {
        Some((start, _)) => {
            let offset = start * dtype(map_type).size_in_bytes();
            Ok((map_type, address_of(storage)? + offset as u64))
        }
        None => bail!("a contiguous tensor is needed"),
    }
}

/// The device address of a contiguous f32 tensor itself, never of a copy.
pub fn tensor_address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f32_address(storage, layout),
        _ => bail!("a tensor on CUDA is needed"),
    }
}

/// The elements of a contiguous f32 tensor.
pub fn f32_view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    match (&storage.slice, layout.contiguous_offsets()) {
        (CudaStorageSlice::F32(slice), Some((start, end))) => Ok(slice.slice(start..end)),
        _ => bail!("contiguous f32 is needed"),
    }
}

/// The address as an argument, or none.
pub fn optional_address(storage: Option<&CudaStorage>) -> Result<KernelArg<'static>> {
    Ok(KernelArg::Address(
        storage.map(address_of).transpose()?.unwrap_or(0),
    ))
}

/// Allocates uninitialized memory, to be written before it is read; a second time if the first fails for lack of
/// memory that the pool keeps in pieces.
pub fn alloc(device: &CudaDevice, map_type: MapType, len: usize) -> Result<CudaStorage> {
    let alloc = || {
        // SAFETY: the callers write all of it before it is read.
        unsafe { device.alloc_uninit(&Shape::from(len), dtype(map_type)) }
    };
    device_memory::retry(alloc, is_out_of_memory, || release_memory(device))
}

/// A borrowed or owned feature map.
pub enum MapRef<'a> {
    /// Of a tensor.
    Borrowed(&'a CudaStorage),
    /// A converted copy.
    Owned(CudaStorage),
}

impl Deref for MapRef<'_> {
    type Target = CudaStorage;

    fn deref(&self) -> &CudaStorage {
        match self {
            Self::Borrowed(storage) => storage,
            Self::Owned(storage) => storage,
        }
    }
}

/// A tensor `[…,C]` as `[…,padded(C)]` of this type; without a copy where it is that already.
pub fn enter<'a>(
    storage: &'a CudaStorage,
    layout: &Layout,
    channels: usize,
    map_type: MapType,
) -> Result<MapRef<'a>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "a contiguous tensor is needed, found strides {:?}",
            layout.stride()
        )
    };
    let from = self::map_type(storage)?;
    if start == 0 && from == map_type && channels == padded(channels) {
        return Ok(MapRef::Borrowed(storage));
    }
    let address = address_of(storage)? + (start * dtype(from).size_in_bytes()) as u64;
    let channels_from_to = (channels, padded(channels));
    let positions = (end - start) / channels;
    Ok(MapRef::Owned(convert(
        &storage.device,
        (from, address),
        channels_from_to,
        positions,
        map_type,
    )?))
}

/// The inverse of [`enter`]: removes the padding.
pub fn leave(storage: CudaStorage, shape: NhwcShape, map_type: MapType) -> Result<CudaStorage> {
    let NhwcShape { channels, .. } = shape;
    let from = self::map_type(&storage)?;
    if from == map_type && channels == padded(channels) {
        return Ok(storage);
    }
    let positions = shape.images * shape.positions();
    let channels_from_to = (padded(channels), channels);
    convert(
        &storage.device,
        (from, address_of(&storage)?),
        channels_from_to,
        positions,
        map_type,
    )
}

fn convert(
    device: &CudaDevice,
    (from, x): (MapType, u64),
    (from_channels, to_channels): (usize, usize),
    positions: usize,
    map_type: MapType,
) -> Result<CudaStorage> {
    let len = positions * to_channels;
    let y = alloc(device, map_type, len)?;
    let name = format!("channels_{}_{}", from.suffix(), map_type.suffix());
    let arguments = [
        KernelArg::Address(x),
        KernelArg::int(from_channels)?,
        KernelArg::Address(address_of(&y)?),
        KernelArg::int(to_channels)?,
        KernelArg::long(len)?,
    ];
    // SAFETY: x has `positions * from_channels` elements of its type, y has `len`.
    unsafe { module::for_each(device, &name, len, &arguments) }?;
    Ok(y)
}

/// A copy.
pub fn copy(storage: &CudaStorage) -> Result<CudaStorage> {
    storage.try_clone(&Layout::contiguous(len(storage)))
}

/// A storage as a tensor of this shape, without a graph.
pub fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// The first `count` values of padded channels, as a tensor `[count]`.
pub fn first_channels(values: CudaStorage, count: usize) -> Result<Tensor> {
    let shape = NhwcShape {
        images: 1,
        height: 1,
        width: 1,
        channels: count,
    };
    Ok(tensor(leave(values, shape, MapType::F32)?, count))
}

/// Calls `f` with tensors `[C]` as one f32 for each padded channel, zeros for the padding.
pub fn with_channels<T, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&CudaStorage; N]) -> Result<T>,
) -> Result<T> {
    with_storages(tensors, |storages| {
        let mut values = Vec::with_capacity(N);
        for (storage, layout) in storages {
            let channels = layout.shape().elem_count();
            values.push(enter(storage, layout, channels, MapType::F32)?);
        }
        with_views(&values, f)
    })
}

/// Calls `f` with views of as many maps.
pub fn with_views<T, const N: usize>(
    maps: &[MapRef],
    f: impl FnOnce([&CudaStorage; N]) -> Result<T>,
) -> Result<T> {
    let views: Vec<&CudaStorage> = maps.iter().map(|map| &**map).collect();
    match views.try_into() {
        Ok(views) => f(views),
        Err(_) => bail!("one feature map for each tensor"),
    }
}

/// Calls `f` with the storages and layouts of contiguous CUDA tensors.
pub fn with_storages<T, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([(&CudaStorage, &Layout); N]) -> Result<T>,
) -> Result<T> {
    let mut contiguous = Vec::with_capacity(N);
    for tensor in tensors {
        contiguous.push(tensor.contiguous()?);
    }
    let guards: Vec<_> = contiguous.iter().map(Tensor::storage_and_layout).collect();
    let mut storages = Vec::with_capacity(N);
    for (storage, layout) in &guards {
        match &**storage {
            Storage::Cuda(storage) => storages.push((storage, *layout)),
            _ => bail!("a tensor on CUDA is needed"),
        }
    }
    match storages.try_into() {
        Ok(storages) => f(storages),
        Err(_) => bail!("one storage for each tensor"),
    }
}
