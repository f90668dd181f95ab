//! Copies of small tensors to pinned memory, in buffers that are used again.

use std::sync::{Arc, Mutex};

use candle_core::{Device, Result, Shape, Tensor, cuda_backend::CudaDevice};

use super::{
    feature_map::{f32_view, with_storages},
    pinned::{PinnedBuffer, Transfer},
};
use crate::ops::locked;

/// Buffers that no copy uses.
type FreeBuffers = Arc<Mutex<Vec<PinnedBuffer<f32>>>>;

/// Starts copies from one device.
#[derive(Debug)]
pub struct Downloader {
    device: CudaDevice,
    free: FreeBuffers,
}

impl Downloader {
    /// Copies from this device.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            free: FreeBuffers::default(),
        })
    }

    /// Starts copying f32 tensors.
    pub fn start(&self, tensors: &[Tensor]) -> Result<Download> {
        let len = tensors.iter().map(Tensor::elem_count).sum();
        let free = locked(&self.free).pop();
        let mut buffer = match free {
            Some(buffer) if buffer.len() >= len => buffer,
            _ => PinnedBuffer::zeros(&self.device, len, Transfer::Download)?,
        };
        let mut offset = 0;
        for tensor in tensors {
            with_storages([tensor], |[(storage, layout)]| {
                buffer.download(&f32_view(storage, layout)?, offset)
            })?;
            offset += tensor.elem_count();
        }
        Ok(Download {
            buffer,
            shapes: tensors
                .iter()
                .map(|tensor| tensor.shape().clone())
                .collect(),
            free: self.free.clone(),
        })
    }
}

/// Copies under way.
#[derive(Debug)]
pub struct Download {
    buffer: PinnedBuffer<f32>,
    shapes: Vec<Shape>,
    free: FreeBuffers,
}

impl Download {
    /// Waits for the copies, and returns the tensors on the CPU.
    pub fn finish(mut self) -> Result<Vec<Tensor>> {
        let mut values = &*self.buffer.elements()?;
        let mut tensors = Vec::with_capacity(self.shapes.len());
        for shape in &self.shapes {
            let (first, rest) = values.split_at(shape.elem_count());
            tensors.push(Tensor::from_slice(first, shape, &Device::Cpu)?);
            values = rest;
        }
        locked(&self.free).push(self.buffer);
        Ok(tensors)
    }
}
