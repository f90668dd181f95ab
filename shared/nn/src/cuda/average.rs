//! Running averages of many weights in few launches.

use candle_core::{Device, Result, Tensor, bail};

use super::{
    arrays::{ArrayLaunch, BLOCK_LEN, ParameterArray},
    feature_map::tensor_address,
    module::{self, KernelArg},
};

/// `average = kept * average + (1 - kept) * weight` of each pair, in place.
pub fn average(pairs: &[(Tensor, Tensor)], kept: f64) -> Result<()> {
    let array = |(average, weight): &(Tensor, Tensor)| {
        if average.dims() != weight.dims() {
            bail!("an average {average:?} of {weight:?}")
        }
        Ok(ParameterArray {
            value: tensor_address(average)?,
            state: 0,
            other: tensor_address(weight)?,
            len: average.elem_count() as i64,
        })
    };
    let Some(Device::Cuda(device)) = pairs.first().map(|(average, _)| average.device()) else {
        bail!("averages on CUDA are needed")
    };
    let arrays = pairs.iter().map(array).collect::<Result<Vec<_>>>()?;
    for launch in ArrayLaunch::all(&arrays)? {
        let arguments = [
            KernelArg::Parameters(&launch.arrays),
            KernelArg::int(BLOCK_LEN)?,
            KernelArg::Float(kept as f32),
            KernelArg::Float((1.0 - kept) as f32),
        ];
        // SAFETY: the addresses are those of live tensors of the lengths beside them.
        unsafe { module::launch(device, "average", [launch.blocks, 1], &arguments) }?;
    }
    Ok(())
}
