//! Free and used memory of a CUDA device; the CPU's is left to the system.

use candle_core::{Device, Result};

use crate::cuda;

/// Free bytes of a CUDA device.
pub fn free(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(device) => cuda::free_memory(device).map(Some),
        _ => Ok(None),
    }
}

/// The most bytes of a CUDA device that this program has used at once.
pub fn peak(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(device) => cuda::peak_memory(device).map(Some),
        _ => Ok(None),
    }
}
