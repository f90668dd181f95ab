//! SGD step of all parameters in one launch, by a table of their addresses, which is uploaded each time
//! because gradients are at other addresses each time.

use candle_core::{Result, Storage, Tensor, bail, cuda_backend::CudaDevice};

use super::{
    address,
    feature_map::{f32_address, with_storages},
    module::{self, KernelArg},
};
use crate::{SgdConfig, SgdParam};

/// Elements of one block.
const BLOCK_LEN: usize = 1 << 14;

/// Takes a step of all parameters; a no-op if the loss is not finite.
pub fn sgd_step(config: &SgdConfig, loss: &Tensor, params: &[SgdParam]) -> Result<()> {
    let mut arrays: Vec<u64> = Vec::with_capacity(4 * params.len());
    let mut blocks: Vec<i32> = Vec::new();
    for (array, param) in params.iter().enumerate() {
        let SgdParam {
            parameter,
            velocity,
            gradient,
        } = param;
        let len = parameter.elem_count();
        if [velocity.elem_count(), gradient.elem_count()] != [len; 2] {
            bail!("a parameter of {len} numbers with {velocity:?} and {gradient:?}")
        }
        for tensor in [parameter.as_tensor(), velocity, gradient] {
            arrays.push(tensor_address(tensor)?);
        }
        arrays.push(len as u64);
        for block in 0..len.div_ceil(BLOCK_LEN) {
            blocks.extend([int(array)?, int(block)?]);
        }
    }
    with_storages([loss], |[(loss, layout)]| {
        let device: &CudaDevice = &loss.device;
        let stream = device.cuda_stream();
        let (arrays, blocks) = (device.clone_htod(&arrays)?, device.clone_htod(&blocks)?);
        let arguments = [
            KernelArg::Address(address(&arrays, &stream).0),
            KernelArg::Address(address(&blocks, &stream).0),
            KernelArg::int(BLOCK_LEN)?,
            KernelArg::Address(f32_address(loss, layout)?),
            KernelArg::Float(config.rate),
            KernelArg::Float(config.momentum),
            KernelArg::Float(config.decay),
            KernelArg::int(usize::from(config.nesterov))?,
        ];
        // SAFETY: the table's addresses are those of live tensors of the lengths beside them; both
        // tables are freed in the order of the stream, after the kernel.
        unsafe { module::launch(device, "sgd", [blocks.len() / 2, 1], &arguments) }
    })
}

/// The address of a contiguous f32 tensor itself, never of a copy.
pub fn tensor_address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f32_address(storage, layout),
        _ => bail!("a tensor on CUDA is needed"),
    }
}

fn int(number: usize) -> Result<i32> {
    i32::try_from(number).map_err(candle_core::Error::wrap)
}
