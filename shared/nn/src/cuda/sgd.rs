//! SGD step of many parameters in one launch, whose arguments are the addresses of them all.

use candle_core::{
    Result, Tensor, bail,
    cuda_backend::{CudaDevice, cudarc::driver::DeviceRepr},
};

use super::{
    feature_map::{f32_address, tensor_address, with_storages},
    module::{self, KernelArg},
};
use crate::{SgdConfig, SgdParam};

/// Elements of one block.
const BLOCK_LEN: usize = 1 << 14;

/// Parameters of one launch.
const ARRAYS: usize = 64;

/// One parameter, as the kernel's `SgdArray`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct SgdArray {
    parameter: u64,
    velocity: u64,
    gradient: u64,
    len: i64,
}

/// Parameters of one launch, as the kernel's `SgdArrays`.
#[derive(Debug)]
#[repr(C)]
pub struct SgdArrays {
    arrays: [SgdArray; ARRAYS],
    /// The grid's index of each array's first block.
    first_block: [i32; ARRAYS],
    len: i32,
}

// SAFETY: plain numbers in the layout of the kernel's struct.
unsafe impl DeviceRepr for SgdArrays {}

impl SgdArrays {
    /// At most [`ARRAYS`] parameters, and the number of their blocks.
    fn new(params: &[SgdParam]) -> Result<(Self, usize)> {
        let mut all = Self {
            arrays: [SgdArray::default(); ARRAYS],
            first_block: [0; ARRAYS],
            len: params.len() as i32,
        };
        let mut blocks = 0;
        let places = all.arrays.iter_mut().zip(&mut all.first_block);
        for ((array, first_block), param) in places.zip(params) {
            let SgdParam {
                parameter,
                velocity,
                gradient,
            } = param;
            let len = parameter.elem_count();
            if [velocity.elem_count(), gradient.elem_count()] != [len; 2] {
                bail!("a parameter of {len} numbers with {velocity:?} and {gradient:?}")
            }
            *array = SgdArray {
                parameter: tensor_address(parameter.as_tensor())?,
                velocity: tensor_address(velocity)?,
                gradient: tensor_address(gradient)?,
                len: len as i64,
            };
            *first_block = i32::try_from(blocks).map_err(candle_core::Error::wrap)?;
            blocks += len.div_ceil(BLOCK_LEN);
        }
        Ok((all, blocks))
    }
}

/// Takes a step of all parameters with the learning rate `rate`, a scalar; a no-op if the loss is not finite.
pub fn sgd_step(
    config: &SgdConfig,
    rate: &Tensor,
    loss: &Tensor,
    params: &[SgdParam],
) -> Result<()> {
    with_storages(
        [loss, rate],
        |[(loss, loss_layout), (rate, rate_layout)]| {
            let device: &CudaDevice = &loss.device;
            for params in params.chunks(ARRAYS) {
                let (arrays, blocks) = SgdArrays::new(params)?;
                let arguments = [
                    KernelArg::SgdArrays(&arrays),
                    KernelArg::int(BLOCK_LEN)?,
                    KernelArg::Address(f32_address(loss, loss_layout)?),
                    KernelArg::Address(f32_address(rate, rate_layout)?),
                    KernelArg::Float(config.momentum),
                    KernelArg::Float(config.decay),
                    KernelArg::int(usize::from(config.nesterov))?,
                ];
                // SAFETY: the addresses are those of live tensors of the lengths beside them, and of two scalars.
                unsafe { module::launch(device, "sgd", [blocks, 1], &arguments) }?;
            }
            Ok(())
        },
    )
}
