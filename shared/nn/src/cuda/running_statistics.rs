//! Running statistics of batch normalization, in one launch for each layer.

use candle_core::{Result, Tensor, bail};

use super::{
    feature_map::with_storages,
    module::{self, KernelArg},
    sgd::tensor_address,
};

/// Moves running mean and variance `[C]` towards a batch's, in place; `unbias` makes the batch's variance
/// the unbiased one.
pub fn update_running_statistics(
    running: [&Tensor; 2],
    batch: [&Tensor; 2],
    unbias: f32,
) -> Result<()> {
    let channels = running[0].dims1()?;
    for tensor in running.iter().chain(&batch) {
        if tensor.dims1()? != channels {
            bail!("{channels} channels with statistics {:?}", tensor.shape())
        }
    }
    with_storages([running[0]], |[(storage, _)]| {
        let arguments = [
            KernelArg::Address(tensor_address(running[0])?),
            KernelArg::Address(tensor_address(running[1])?),
            KernelArg::Address(tensor_address(batch[0])?),
            KernelArg::Address(tensor_address(batch[1])?),
            KernelArg::Float(unbias),
            KernelArg::long(channels)?,
        ];
        // SAFETY: all four are live tensors of `channels` numbers, which nothing else writes.
        unsafe { module::for_each(&storage.device, "running_statistics", channels, &arguments) }
    })
}
