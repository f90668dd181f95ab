//! Module of the CUDA C kernels: compiled by NVRTC when a device first needs it, and launched by name.

use std::sync::LazyLock;

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::{
            driver::{LaunchConfig, PushKernelArg},
            nvrtc::{CompileOptions, compile_ptx_with_opts},
        },
    },
};

use super::arrays::{ArrayList, FilterArray, ParameterArray};

/// Threads of a block; `batch_norm.cu` relies on it.
pub const THREADS: usize = 256;

/// All the CUDA C.
const SOURCE: &str = concat!(
    include_str!("kernels/common.cuh"),
    include_str!("kernels/arrays.cuh"),
    include_str!("kernels/convert.cu"),
    include_str!("kernels/channels_last.cu"),
    include_str!("kernels/im2col.cu"),
    include_str!("kernels/epilogue.cu"),
    include_str!("kernels/batch_norm.cu"),
    include_str!("kernels/pool.cu"),
    include_str!("kernels/loss.cu"),
    include_str!("kernels/dropout.cu"),
    include_str!("kernels/row_ops.cu"),
    include_str!("kernels/sgd.cu"),
    include_str!("kernels/average.cu"),
    include_str!("kernels/crop.cu"),
);

/// PTX for compute capability 8.0, the oldest with bf16; the driver compiles it for the installed GPU.
static PTX: LazyLock<std::result::Result<String, String>> = LazyLock::new(|| {
    let options = CompileOptions {
        arch: Some("compute_80"),
        options: vec!["--std=c++17".into()],
        ..CompileOptions::default()
    };
    match compile_ptx_with_opts(SOURCE, options) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(error) => Err(format!("the CUDA kernels do not compile: {error:?}")),
    }
});

/// An argument of a kernel.
pub enum KernelArg<'a> {
    /// An address on the device; 0 is none.
    Address(u64),
    /// An `int`.
    Int(i32),
    /// A count of elements.
    Long(i64),
    /// 64 bits.
    Bits(u64),
    /// 32 bits.
    Bits32(u32),
    /// An f32.
    Float(f32),
    /// An f64.
    Double(f64),
    /// A list of parameters, by value.
    Parameters(&'a ArrayList<ParameterArray>),
    /// A list of filters, by value.
    Filters(&'a ArrayList<FilterArray>),
}

impl KernelArg<'_> {
    /// A whole number that fits a kernel's `int`.
    pub fn int(number: usize) -> Result<Self> {
        i32::try_from(number).map(Self::Int).map_err(Error::wrap)
    }

    /// A count of elements.
    pub fn long(number: usize) -> Result<Self> {
        i64::try_from(number).map(Self::Long).map_err(Error::wrap)
    }
}

/// Launches a kernel with a thread for each of `len` elements.
///
/// # Safety
/// The arguments are those of the kernel of this name, and memory is as large as it expects.
pub unsafe fn for_each(
    device: &CudaDevice,
    name: &str,
    len: usize,
    arguments: &[KernelArg],
) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    // SAFETY: as the caller promises.
    unsafe { launch(device, name, [len.div_ceil(THREADS), 1], arguments) }
}

/// Launches a kernel of so many blocks.
///
/// # Safety
/// As in [`for_each`].
pub unsafe fn launch(
    device: &CudaDevice,
    name: &str,
    [across, down]: [usize; 2],
    arguments: &[KernelArg],
) -> Result<()> {
    let ptx = PTX.as_ref().map_err(|error| Error::Msg(error.clone()))?;
    let function = device.get_or_load_custom_func(name, "mithridate", ptx)?;
    let blocks = |number: usize| u32::try_from(number).map_err(Error::wrap);
    let config = LaunchConfig {
        grid_dim: (blocks(across)?, blocks(down)?, 1),
        block_dim: (THREADS as u32, 1, 1),
        shared_mem_bytes: 0,
    };
    let mut builder = function.builder();
    for argument in arguments {
        match argument {
            KernelArg::Address(address) => builder.arg(address),
            KernelArg::Bits(bits) => builder.arg(bits),
            KernelArg::Bits32(bits) => builder.arg(bits),
            KernelArg::Int(number) => builder.arg(number),
            KernelArg::Long(number) => builder.arg(number),
            KernelArg::Float(number) => builder.arg(number),
            KernelArg::Double(number) => builder.arg(number),
            KernelArg::Parameters(arrays) => builder.arg(*arrays),
            KernelArg::Filters(arrays) => builder.arg(*arrays),
        };
    }
    // SAFETY: as the caller promises.
    unsafe { builder.launch(config) }.map_err(Error::wrap)?;
    Ok(())
}
