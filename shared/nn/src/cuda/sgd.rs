//! SGD step of all parameters in one launch, by a table of their addresses, which is uploaded each time
//! because gradients are at other addresses each time.

use candle_core::{Result, Tensor, bail, cuda_backend::CudaDevice};

use super::{
    address,
    feature_map::{f32_address, tensor_address, with_storages},
    module::{self, KernelArg},
};
use crate::{SgdConfig, SgdParam};

/// Elements of one block.
const BLOCK_LEN: usize = 1 << 14;

/// Takes a step of all parameters; a no-op if the loss is not finite.
pub fn sgd_step(config: &SgdConfig, loss: &Tensor, params: &[SgdParam]) -> Result<()> {
    let mut table: Vec<u64> = Vec::with_capacity(4 * params.len());
    let mut blocks: Vec<u64> = Vec::new();
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
            table.push(tensor_address(tensor)?);
        }
        table.push(len as u64);
        for block in 0..len.div_ceil(BLOCK_LEN) {
            // The kernel's `Block` of two ints.
            blocks.push(u64::from(int(array)?) | u64::from(int(block)?) << 32);
        }
    }
    let arrays_len = table.len();
    table.extend(&blocks);
    with_storages([loss], |[(loss, layout)]| {
        let device: &CudaDevice = &loss.device;
        let stream = device.cuda_stream();
        let table = device.clone_htod(&table)?;
        let arrays = address(&table, &stream).0;
        let arguments = [
            KernelArg::Address(arrays),
            KernelArg::Address(arrays + (8 * arrays_len) as u64),
            KernelArg::int(BLOCK_LEN)?,
            KernelArg::Address(f32_address(loss, layout)?),
            KernelArg::Float(config.rate),
            KernelArg::Float(config.momentum),
            KernelArg::Float(config.decay),
            KernelArg::int(usize::from(config.nesterov))?,
        ];
        // SAFETY: the table's addresses are those of live tensors of the lengths beside them; it is freed in the
        // order of the stream, after the kernel.
        unsafe { module::launch(device, "sgd", [blocks.len(), 1], &arguments) }
    })
}

fn int(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(candle_core::Error::wrap)
}
