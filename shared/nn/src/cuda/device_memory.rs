//! Memory of a device: the pool that keeps freed memory, and how much is free and used.

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{
            result::{self as driver, mem_get_info},
            sys::CUmemPool_attribute,
        },
    },
};

/// Prepares a device for programs that use it from one stream.
pub fn prepare(device: &CudaDevice) -> Result<()> {
    // SAFETY: all memory of this device is used in the order of one stream.
    unsafe { device.disable_event_tracking() };
    disable_pool_release(device)
}

/// Keeps freed memory for the next step: by default it goes back to the driver at every wait.
fn disable_pool_release(device: &CudaDevice) -> Result<()> {
    let context = device.cuda_stream().context().clone();
    context.bind_to_thread().map_err(Error::wrap)?;
    // SAFETY: the device is open; the attribute is a u64, according to the driver's manual.
    unsafe {
        let pool = driver::device::get_default_mem_pool(context.cu_device());
        let mut all = u64::MAX;
        driver::mem_pool::set_attribute(
            pool.map_err(Error::wrap)?,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            std::ptr::from_mut(&mut all).cast(),
        )
        .map_err(Error::wrap)
    }
}

/// Free bytes.
pub fn free_memory(device: &CudaDevice) -> Result<u64> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(Error::wrap)?;
    Ok(mem_get_info().map_err(Error::wrap)?.0 as u64)
}

/// The most bytes in use at once since the device was opened.
pub fn peak_memory(device: &CudaDevice) -> Result<u64> {
    let context = device.cuda_stream().context().clone();
    context.bind_to_thread().map_err(Error::wrap)?;
    let mut peak = 0u64;
    // SAFETY: the device is open; the attribute is a u64, according to the driver's manual.
    unsafe {
        let pool = driver::device::get_default_mem_pool(context.cu_device());
        driver::mem_pool::get_attribute(
            pool.map_err(Error::wrap)?,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH,
            std::ptr::from_mut(&mut peak).cast(),
        )
        .map_err(Error::wrap)?;
    }
    Ok(peak)
}
