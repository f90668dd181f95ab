//! Crop and resize of images of bytes, which are on the device or are uploaded batch by batch.

use candle_core::{CudaStorage, Result, Storage, Tensor, bail, cuda_backend::CudaDevice};
use rayon::prelude::*;

use super::{
    MapType, address,
    feature_map::{address_of, alloc, tensor},
    module::{self, KernelArg},
    pinned::{PinnedBuffer, Transfer},
};
use crate::{CropWindow, ops::crop::IMAGE_BYTES};

/// Double-buffered upload through pinned memory: one buffer is filled while the other is copied to the
/// device.
#[derive(Debug)]
pub struct PinnedUploader {
    device: CudaDevice,
    buffers: [Option<PinnedBuffer<u8>>; 2],
}

impl PinnedUploader {
    /// Uploads to this device.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            buffers: [None, None],
        })
    }

    /// Uploads the images at `rows` of `pixels` to the device, `[rows or more, 3072]`; all rows
    /// are those of images.
    pub fn upload(&mut self, pixels: &[u8], rows: &[u32]) -> Result<Tensor> {
        self.buffers.rotate_left(1);
        let len = rows.len() * IMAGE_BYTES;
        let buffer = match &mut self.buffers[0] {
            Some(buffer) if buffer.len() >= len => buffer,
            buffer => buffer.insert(PinnedBuffer::zeros(&self.device, len, Transfer::Upload)?),
        };
        // Waits for the buffer's own copy, two batches ago.
        let bytes = buffer.elements()?;
        let images = bytes[..len].par_chunks_exact_mut(IMAGE_BYTES).zip(rows);
        images.for_each(|(to, &row)| {
            to.copy_from_slice(&pixels[row as usize * IMAGE_BYTES..][..IMAGE_BYTES]);
        });
        let (uploaded, len) = (buffer.upload()?, buffer.len());
        let storage = CudaStorage::wrap_cuda_slice(uploaded, self.device.clone());
        Ok(tensor(storage, (len / IMAGE_BYTES, IMAGE_BYTES)))
    }
}

/// A window, resized, of each of `rows` of `pixels` `[N,3072]`, which all exist.
pub fn crop_resize(pixels: &Tensor, rows: &[u32], windows: &[CropWindow]) -> Result<Tensor> {
    let (storage, layout) = pixels.storage_and_layout();
    let pixels: &CudaStorage = match &*storage {
        Storage::Cuda(storage) if layout.start_offset() == 0 => storage,
        _ => bail!("whole images on CUDA are needed"),
    };
    let (device, len) = (&pixels.device, rows.len() * IMAGE_BYTES);
    let stream = device.cuda_stream();
    let windows = windows.iter().flat_map(|window| {
        let CropWindow {
            top,
            left,
            height,
            width,
            mirrored,
        } = *window;
        [top, left, height, width, mirrored.into()]
    });
    let list: Vec<i32> = rows.iter().map(|&row| row as i32).chain(windows).collect();
    let list = device.clone_htod(&list)?;
    let rows_on = address(&list, &stream).0;
    let cropped = alloc(device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(address_of(pixels)?),
        KernelArg::Address(rows_on),
        KernelArg::Address(rows_on + (4 * rows.len()) as u64),
        KernelArg::Address(address_of(&cropped)?),
        KernelArg::long(len)?,
    ];
    // SAFETY: rows are those of images, and there is a window for each; the list is freed in the order of the
    // stream, after the kernel.
    unsafe { module::for_each(device, "crop_resize", len, &arguments) }?;
    Ok(tensor(cropped, (rows.len(), 3, 32, 32)))
}
