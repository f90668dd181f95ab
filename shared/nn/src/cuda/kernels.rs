//! Our kernels: a name and arguments come in, a launch goes out. The CUDA C is compiled by NVRTC when
//! a device first needs it, for that device.

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

/// Threads of a block; `normalize.cu` counts on it.
pub const THREADS: usize = 256;

/// All the CUDA C.
const SOURCE: &str = concat!(
    include_str!("kernels/common.cuh"),
    include_str!("kernels/convert.cu"),
    include_str!("kernels/epilogue.cu"),
    include_str!("kernels/normalize.cu"),
    include_str!("kernels/dropout.cu"),
    include_str!("kernels/momentum.cu"),
    include_str!("kernels/crop.cu"),
);

/// The assembly for the oldest GPU with bf16; the driver translates it for its own.
static PTX: LazyLock<std::result::Result<String, String>> = LazyLock::new(|| {
    let options = CompileOptions {
        arch: Some("compute_80"),
        options: vec!["--std=c++17".into()],
        ..CompileOptions::default()
    };
    match compile_ptx_with_opts(SOURCE, options) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(error) => Err(format!("our kernels do not compile: {error:?}")),
    }
});

/// An argument of a kernel: an address, a number.
pub enum Argument {
    /// An address on the device; 0 is none.
    At(u64),
    /// A whole number.
    Int(i32),
    /// A count of elements.
    Long(i64),
    /// 64 bits.
    Bits(u64),
    /// 32 bits.
    Bits32(u32),
    /// A factor.
    Float(f32),
    /// An exact number.
    Double(f64),
}

impl Argument {
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
    arguments: &[Argument],
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
    arguments: &[Argument],
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
            Argument::At(address) => builder.arg(address),
            Argument::Bits(bits) => builder.arg(bits),
            Argument::Bits32(bits) => builder.arg(bits),
            Argument::Int(number) => builder.arg(number),
            Argument::Long(number) => builder.arg(number),
            Argument::Float(number) => builder.arg(number),
            Argument::Double(number) => builder.arg(number),
        };
    }
    // SAFETY: as the caller promises.
    unsafe { builder.launch(config) }.map_err(Error::wrap)?;
    Ok(())
}
