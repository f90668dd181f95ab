//! Operations on CUDA: contiguous f32 or bf16 storages come in, new storages go out, in the order
//! in which they are asked for and without waiting for any. Convolutions are cuDNN's; the kernels
//! around them are CUDA C, compiled when a device is first used.
//!
//! Feature maps inside a chain are `[B,H,W,C]` with the channels filled up to a multiple of eight by
//! zeros, which is what tensor cores and 16-byte words want; [`map::enter`] and [`map::leave`] add
//! and take away.

mod batch_norm;
mod chain;
mod convolution;
mod convolve;
mod dropout;
mod elementwise;
mod filter;
mod kernels;
mod layer;
mod map;
mod momentum;
mod norm;
mod pictures;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use candle_core::{
    Result,
    cuda_backend::{
        CudaDevice, DeviceId,
        cudarc::driver::{
            CudaSlice, CudaStream, DevicePtr, SyncOnDrop, result as driver,
            sys::{CUdeviceptr, CUmemPool_attribute},
        },
    },
};

pub use batch_norm::{batch_norm_backward, batch_norm_eval, batch_norm_train};
pub use chain::{frozen_chain, learning_chain};
pub use convolution::convolve;
pub use dropout::drop;
pub use elementwise::{relu, relu_backward};
pub use layer::Ready;
pub use momentum::descend;
pub use pictures::{Passage, free_memory, peak_memory, show};

use convolve::Convolutions;

/// Numbers that a map is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 4 bytes.
    F32,
    /// 2 bytes: f32 without its last 16 bits.
    Bf16,
}

impl Kind {
    /// As the kernels' names end.
    fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Makes a device ready for programs that use it from one stream.
pub fn prepare(device: &CudaDevice) -> Result<()> {
    // SAFETY: all memory of this device is used in the order of one stream.
    unsafe { device.disable_event_tracking() };
    keep_memory(device)
}

/// Keeps freed memory for the next step: by default it goes back to the driver at every wait.
fn keep_memory(device: &CudaDevice) -> Result<()> {
    let context = device.cuda_stream().context().clone();
    let failed = |error| candle_core::Error::wrap(error);
    context.bind_to_thread().map_err(failed)?;
    // SAFETY: the device is open; the attribute is a u64, as the driver's manual says.
    unsafe {
        let pool = driver::device::get_default_mem_pool(context.cu_device()).map_err(failed)?;
        let mut all = u64::MAX;
        driver::mem_pool::set_attribute(
            pool,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            std::ptr::from_mut(&mut all).cast(),
        )
        .map_err(failed)
    }
}

/// cuDNN on a device, for one thread at a time.
fn with_convolutions<T>(
    device: &CudaDevice,
    f: impl FnOnce(&mut Convolutions) -> Result<T>,
) -> Result<T> {
    static ALL: LazyLock<Mutex<HashMap<DeviceId, Arc<Mutex<Convolutions>>>>> =
        LazyLock::new(Mutex::default);
    let of_device = {
        let mut all = locked(&ALL);
        match all.get(&device.id()) {
            Some(of_device) => of_device.clone(),
            None => {
                let new = Arc::new(Mutex::new(Convolutions::new(device)?));
                all.insert(device.id(), new.clone());
                new
            }
        }
    };
    let mut convolutions = locked(&of_device);
    f(&mut convolutions)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a slice lies, for as long as the second part lives.
fn address<'a, T>(
    slice: &'a CudaSlice<T>,
    stream: &'a CudaStream,
) -> (CUdeviceptr, SyncOnDrop<'a>) {
    slice.device_ptr(stream)
}
