//! Memory of a device: the pool that keeps freed memory, and how much is free and used.

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{
            result::{self as driver, mem_get_info},
            sys::{
                CUgraphMem_attribute, CUmemPool_attribute, CUmemoryPool,
                cuDeviceGetGraphMemAttribute, cuDeviceGraphMemTrim,
            },
        },
    },
};

/// Bytes that the pool leaves to what is allocated outside it: kernels when they are first launched, and the
/// workspaces of cuBLAS and cuDNN.
const OUTSIDE_POOL: usize = 1 << 30;

/// Prepares a device for programs that use it from one stream.
pub fn prepare(device: &CudaDevice) -> Result<()> {
    // SAFETY: all memory of this device is used in the order of one stream.
    unsafe { device.disable_event_tracking() };
    limit_pool_release(device)
}

/// Keeps freed memory for the next step: by default it goes back to the driver at every wait.
fn limit_pool_release(device: &CudaDevice) -> Result<()> {
    let pool = default_pool(device)?;
    let total = mem_get_info().map_err(Error::wrap)?.1;
    let mut kept = total.saturating_sub(OUTSIDE_POOL) as u64;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the open device's; the attribute is a u64, according to the driver's manual.
    unsafe {
        driver::mem_pool::set_attribute(pool, attribute, std::ptr::from_mut(&mut kept).cast())
    }
    .map_err(Error::wrap)
}

/// The pool of all allocations on a device, whose context is made this thread's.
fn default_pool(device: &CudaDevice) -> Result<CUmemoryPool> {
    let stream = device.cuda_stream();
    let context = stream.context();
    context.bind_to_thread().map_err(Error::wrap)?;
    // SAFETY: the device is open.
    unsafe { driver::device::get_default_mem_pool(context.cu_device()) }.map_err(Error::wrap)
}

/// A number of bytes that the pool counts.
fn pool_bytes(device: &CudaDevice, attribute: CUmemPool_attribute) -> Result<u64> {
    let pool = default_pool(device)?;
    let mut bytes = 0u64;
    // SAFETY: the pool is the open device's; the attributes asked for are a u64, according to the driver's manual.
    unsafe {
        driver::mem_pool::get_attribute(pool, attribute, std::ptr::from_mut(&mut bytes).cast())
    }
    .map_err(Error::wrap)?;
    Ok(bytes)
}

/// Free bytes: the driver's, and those that the pool and graphs that are gone keep unused.
pub fn free_memory(device: &CudaDevice) -> Result<u64> {
    let reserved = CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT;
    let used = CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT;
    let by_pool = pool_bytes(device, reserved)?.saturating_sub(pool_bytes(device, used)?);
    let reserved = CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT;
    let used = CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT;
    let by_graphs = graph_bytes(device, reserved)?.saturating_sub(graph_bytes(device, used)?);
    Ok(mem_get_info().map_err(Error::wrap)?.0 as u64 + by_pool + by_graphs)
}

/// The most bytes in use at once since the device was opened; those of graphs, which are not the pool's, beside what the pool has now.
pub fn peak_memory(device: &CudaDevice) -> Result<u64> {
    let high = pool_bytes(device, CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?;
    let current = pool_bytes(
        device,
        CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
    )?;
    let of_graphs = graph_bytes(
        device,
        CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH,
    )?;
    Ok(high.max(current + of_graphs))
}

/// A number of bytes of all graphs.
fn graph_bytes(device: &CudaDevice, attribute: CUgraphMem_attribute) -> Result<u64> {
    let stream = device.cuda_stream();
    let mut bytes = 0u64;
    // SAFETY: the device is open; the attributes are a u64, according to the driver's manual.
    let status = unsafe {
        cuDeviceGetGraphMemAttribute(
            stream.context().cu_device(),
            attribute,
            std::ptr::from_mut(&mut bytes).cast(),
        )
    };
    status.result().map_err(Error::wrap)?;
    Ok(bytes)
}

/// Gives the memory that the pool and graphs keep unused back to the driver, once all work has ended.
pub fn release_memory(device: &CudaDevice) -> Result<()> {
    let pool = default_pool(device)?;
    let stream = device.cuda_stream();
    stream.synchronize().map_err(Error::wrap)?;
    // SAFETY: the device is open.
    let status = unsafe { cuDeviceGraphMemTrim(stream.context().cu_device()) };
    status.result().map_err(Error::wrap)?;
    // SAFETY: the pool is the open device's.
    unsafe { driver::mem_pool::trim_to(pool, 0) }.map_err(Error::wrap)
}
