//! Feature maps as storages on the device: what candle's tensors hold comes in and goes out; inside,
//! channels are a multiple of eight.

use std::ops::Deref;

use candle_core::{
    CudaStorage, DType, Layout, Result, Shape, Storage, Tensor,
    backend::{BackendDevice, BackendStorage},
    bail,
    cuda_backend::{CudaDevice, CudaStorageSlice},
    op::BackpropOp,
};

use super::{
    Kind, address,
    kernels::{self, Argument},
};
use ::kernels::shape::{ConvShape, NhwcShape};

/// Channels as they are stored.
pub fn padded(channels: usize) -> usize {
    channels.next_multiple_of(8)
}

/// The sizes as they are stored.
pub fn padded_geometry(geometry: &ConvShape) -> ConvShape {
    ConvShape {
        input: geometry
            .input
            .with_channels(padded(geometry.input.channels)),
        c_out: padded(geometry.c_out),
        ..*geometry
    }
}

/// What the numbers are.
pub fn kind(storage: &CudaStorage) -> Result<Kind> {
    match &storage.slice {
        CudaStorageSlice::F32(_) => Ok(Kind::F32),
        CudaStorageSlice::BF16(_) => Ok(Kind::Bf16),
        _ => bail!("f32 or bf16 is needed on CUDA"),
    }
}

/// How many numbers there are.
pub fn len(storage: &CudaStorage) -> usize {
    match &storage.slice {
        CudaStorageSlice::F32(slice) => slice.len(),
        CudaStorageSlice::BF16(slice) => slice.len(),
        _ => 0,
    }
}

fn dtype(kind: Kind) -> DType {
    match kind {
        Kind::F32 => DType::F32,
        Kind::Bf16 => DType::BF16,
    }
}

/// Where the numbers lie. All work on a device is done in the order of one stream, so nothing
/// has to be waited for.
pub fn at(storage: &CudaStorage) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    match &storage.slice {
        CudaStorageSlice::F32(slice) => Ok(address(slice, &stream).0),
        CudaStorageSlice::BF16(slice) => Ok(address(slice, &stream).0),
        CudaStorageSlice::U8(slice) => Ok(address(slice, &stream).0),
        CudaStorageSlice::U32(slice) => Ok(address(slice, &stream).0),
        _ => bail!("numbers of a kind that no kernel of ours reads"),
    }
}

/// Where the numbers of a contiguous f32 tensor lie.
pub fn at_floats(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    match (kind(storage)?, layout.contiguous_offsets()) {
        (Kind::F32, Some((start, _))) => Ok(at(storage)? + 4 * start as u64),
        _ => bail!("contiguous f32 is needed"),
    }
}

/// The address as an argument, or none.
pub fn maybe(storage: Option<&CudaStorage>) -> Result<Argument> {
    Ok(Argument::At(storage.map(at).transpose()?.unwrap_or(0)))
}

/// Memory for so many numbers, to be written before it is read.
pub fn room(device: &CudaDevice, kind: Kind, len: usize) -> Result<CudaStorage> {
    // SAFETY: whoever asks for room fills it.
    unsafe { device.alloc_uninit(&Shape::from(len), dtype(kind)) }
}

/// A map that is somebody's, or one's own.
pub enum Lent<'a> {
    /// Somebody's.
    Theirs(&'a CudaStorage),
    /// One's own.
    Own(CudaStorage),
}

impl Deref for Lent<'_> {
    type Target = CudaStorage;

    fn deref(&self) -> &CudaStorage {
        match self {
            Self::Theirs(storage) => storage,
            Self::Own(storage) => storage,
        }
    }
}

/// A tensor's numbers `[…,C]` as `[…,padded(C)]` of this kind; without a copy if they are that.
pub fn enter<'a>(
    storage: &'a CudaStorage,
    layout: &Layout,
    channels: usize,
    kind: Kind,
) -> Result<Lent<'a>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "a contiguous tensor is needed, found strides {:?}",
            layout.stride()
        )
    };
    let from = self::kind(storage)?;
    if start == 0 && from == kind && channels == padded(channels) {
        return Ok(Lent::Theirs(storage));
    }
    let at = at(storage)? + (start * dtype(from).size_in_bytes()) as u64;
    let widths = (channels, padded(channels));
    let positions = (end - start) / channels;
    Ok(Lent::Own(convert(
        &storage.device,
        (from, at),
        widths,
        positions,
        kind,
    )?))
}

/// What [`enter`] made of `channels` channels, as a tensor has it.
pub fn leave(storage: CudaStorage, pictures: NhwcShape, kind: Kind) -> Result<CudaStorage> {
    let NhwcShape { channels, .. } = pictures;
    let from = self::kind(&storage)?;
    if from == kind && channels == padded(channels) {
        return Ok(storage);
    }
    let positions = pictures.images * pictures.positions();
    let widths = (padded(channels), channels);
    convert(
        &storage.device,
        (from, at(&storage)?),
        widths,
        positions,
        kind,
    )
}

fn convert(
    device: &CudaDevice,
    (from, x): (Kind, u64),
    (had, has): (usize, usize),
    positions: usize,
    kind: Kind,
) -> Result<CudaStorage> {
    let len = positions * has;
    let y = room(device, kind, len)?;
    let name = format!("channels_{}_{}", from.suffix(), kind.suffix());
    let arguments = [
        Argument::At(x),
        Argument::int(had)?,
        Argument::At(at(&y)?),
        Argument::int(has)?,
        Argument::long(len)?,
    ];
    // SAFETY: x has `positions * had` numbers of its kind, y has `len`.
    unsafe { kernels::for_each(device, &name, len, &arguments) }?;
    Ok(y)
}

/// The same numbers again.
pub fn copy(storage: &CudaStorage) -> Result<CudaStorage> {
    storage.try_clone(&Layout::contiguous(len(storage)))
}

/// A storage as a tensor of this shape, with no past.
pub fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// The first numbers of a storage, as a tensor `[count]`.
pub fn first(numbers: CudaStorage, count: usize) -> Result<Tensor> {
    let pictures = NhwcShape {
        images: 1,
        height: 1,
        width: 1,
        channels: count,
    };
    Ok(tensor(leave(numbers, pictures, Kind::F32)?, count))
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
        Err(_) => bail!("as many storages as tensors"),
    }
}
