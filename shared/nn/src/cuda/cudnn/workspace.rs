//! Workspace that all convolutions of a device share, grown on demand in the order of its stream.

use candle_core::{
    Result,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{CudaSlice, sys::CUdeviceptr},
    },
};

use super::super::{address, device_memory::release_memory};
use crate::device_memory::retry;
use base::error::is_out_of_memory;

/// The most bytes that a plan may ask for.
pub const MAX_WORKSPACE: usize = 1 << 30;

/// Scratch memory on a device.
pub struct Workspace {
    device: CudaDevice,
    memory: Option<CudaSlice<u8>>,
}

impl Workspace {
    /// Allocates nothing yet.
    pub fn new(device: &CudaDevice) -> Self {
        Self {
            device: device.clone(),
            memory: None,
        }
    }

    /// Frees it, in the order of the stream.
    pub fn release(&mut self) {
        self.memory = None;
    }

    /// The address of at least so many bytes; what was there is lost.
    ///
    /// # Errors
    /// When memory does not suffice.
    pub fn reserve(&mut self, bytes: usize) -> Result<CUdeviceptr> {
        let stream = self.device.cuda_stream();
        let has = self.memory.as_ref().map_or(0, CudaSlice::len);
        if has < bytes {
            // Freed first, in the order of the stream: both together may not fit.
            self.release();
            let device = &self.device;
            // SAFETY: nothing in it is read before it has been written.
            let alloc = || unsafe { device.alloc(bytes) };
            let memory = retry(alloc, is_out_of_memory, || release_memory(device))?;
            self.memory = Some(memory);
        }
        Ok(self
            .memory
            .as_ref()
            .map_or(0, |memory| address(memory, &stream).0))
    }
}
