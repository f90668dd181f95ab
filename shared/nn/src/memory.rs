//! The memory of a device: a device comes in, bytes go out. Only CUDA's is asked for; that of the
//! CPU is the system's business.

use candle_core::{Device, Result};

/// Bytes that are free on a CUDA device.
pub fn free(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        return Ok(Some(super::cuda::free_memory(device)?));
    }
    let _ = device;
    Ok(None)
}

/// Bytes of a CUDA device that this program has used at once, at most.
pub fn peak(device: &Device) -> Result<Option<u64>> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        return Ok(Some(super::cuda::peak_memory(device)?));
    }
    let _ = device;
    Ok(None)
}
