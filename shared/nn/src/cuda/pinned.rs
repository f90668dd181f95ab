//! Page-locked host memory for copies that the host does not wait for, with an event after each copy: bytes are
//! filled, read and freed only when the copy is done.
//!
//! cudarc's own event of such memory is recorded only while it tracks events, which
//! [`prepare`](super::prepare) turns off.

use std::sync::Arc;

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{
            CudaEvent, CudaSlice, CudaStream, CudaView, DeviceRepr, PinnedHostSlice,
            ValidAsZeroBits, sys::CU_MEMHOSTALLOC_WRITECOMBINED,
        },
    },
};

/// Which way a buffer is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// To the device; the host is slow to read such memory.
    Upload,
    /// From the device.
    Download,
}

/// A buffer and the end of its last copy.
#[derive(Debug)]
pub struct PinnedBuffer<T> {
    memory: PinnedHostSlice<T>,
    /// Recorded after each copy; before the first one nothing has to be waited for.
    copied: CudaEvent,
    stream: Arc<CudaStream>,
}

impl<T: DeviceRepr + ValidAsZeroBits> PinnedBuffer<T> {
    /// `len` zeros, for copies in the order of the device's stream.
    pub fn zeros(device: &CudaDevice, len: usize, transfer: Transfer) -> Result<Self> {
        let stream = device.cuda_stream();
        let flags = match transfer {
            Transfer::Upload => CU_MEMHOSTALLOC_WRITECOMBINED,
            Transfer::Download => 0,
        };
        let context = stream.context();
        // SAFETY: all of it is written right below.
        let memory = unsafe { context.alloc_pinned_with_flags::<T>(len, flags) };
        let mut memory = memory.map_err(Error::wrap)?;
        let start = memory.as_mut_ptr().map_err(Error::wrap)?;
        // SAFETY: it has `len` elements, for which zero bits are valid.
        unsafe { start.write_bytes(0, len) };
        Ok(Self {
            copied: context.new_event(None).map_err(Error::wrap)?,
            memory,
            stream,
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// The elements, to be filled or read; waits for the last copy alone, not for what was launched after it.
    pub fn elements(&mut self) -> Result<&mut [T]> {
        self.copied.synchronize().map_err(Error::wrap)?;
        self.memory.as_mut_slice().map_err(Error::wrap)
    }

    /// Starts a copy of all elements to the device.
    pub fn upload(&mut self) -> Result<CudaSlice<T>> {
        let copy = self.stream.clone_htod(&self.memory).map_err(Error::wrap);
        self.copied.record(&self.stream).map_err(Error::wrap)?;
        copy
    }

    /// Starts a copy of device memory to the elements from `offset` on.
    pub fn download(&mut self, source: &CudaView<T>, offset: usize) -> Result<()> {
        let elements = self.memory.as_mut_slice().map_err(Error::wrap)?;
        let target = &mut elements[offset..][..source.len()];
        let copy = self.stream.memcpy_dtoh(source, target);
        self.copied.record(&self.stream).map_err(Error::wrap)?;
        copy.map_err(Error::wrap)
    }
}

impl<T> Drop for PinnedBuffer<T> {
    fn drop(&mut self) {
        // The memory is freed next. An error here is the context's, which later calls report.
        let _ = self.copied.synchronize();
    }
}
