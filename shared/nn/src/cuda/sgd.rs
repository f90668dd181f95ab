//! SGD step of many parameters in few launches.

use candle_core::{
    Result, Tensor, bail,
    cuda_backend::{CudaDevice, cudarc::driver::CudaSlice},
};

use super::{
    MapType, address,
    arrays::{ArrayLaunch, BLOCK_LEN, ParameterArray},
    feature_map::{address_of, alloc, f32_address, tensor_address, with_storages},
    module::{self, KernelArg},
};
use crate::{SgdConfig, SgdParam, ops::sgd::CLIP_EPS};

/// Takes a step of all parameters with the learning rate `rate`, a scalar; a no-op if the loss is not finite.
pub fn sgd_step(
    config: &SgdConfig,
    rate: &Tensor,
    loss: &Tensor,
    params: &[SgdParam],
) -> Result<()> {
    let arrays = params.iter().map(array).collect::<Result<Vec<_>>>()?;
    let launches = ArrayLaunch::all(&arrays)?;
    with_storages(
        [loss, rate],
        |[(loss, loss_layout), (rate, rate_layout)]| {
            let device: &CudaDevice = &loss.device;
            let factor = match config.clip_norm {
                Some(norm) => Some(clip_factor(device, &launches, norm)?),
                None => None,
            };
            let factor = factor.as_ref().map(address_of).transpose()?.unwrap_or(0);
            for launch in &launches {
                let arguments = [
                    KernelArg::Parameters(&launch.arrays),
                    KernelArg::int(BLOCK_LEN)?,
                    KernelArg::Address(f32_address(loss, loss_layout)?),
                    KernelArg::Address(f32_address(rate, rate_layout)?),
                    KernelArg::Address(factor),
                    KernelArg::Float(config.momentum),
                    KernelArg::Float(config.decay),
                    KernelArg::int(usize::from(config.nesterov))?,
                ];
                // SAFETY: the addresses are those of live tensors of the lengths beside them, and of scalars; the factor is freed in the
                // order of the stream, after the kernels.
                unsafe { module::launch(device, "sgd", [launch.blocks, 1], &arguments) }?;
            }
            Ok(())
        },
    )
}

/// A parameter with velocity and gradient of its size.
fn array(param: &SgdParam) -> Result<ParameterArray> {
    let SgdParam {
        parameter,
        velocity,
        gradient,
    } = param;
    let len = parameter.elem_count();
    if [velocity.elem_count(), gradient.elem_count()] != [len; 2] {
        bail!("a parameter of {len} numbers with {velocity:?} and {gradient:?}")
    }
    Ok(ParameterArray {
        value: tensor_address(parameter.as_tensor())?,
        state: tensor_address(velocity)?,
        other: tensor_address(gradient)?,
        len: len as i64,
    })
}

/// What all gradients are multiplied by so that together they are no longer than `norm`: one number.
fn clip_factor(
    device: &CudaDevice,
    launches: &[ArrayLaunch<ParameterArray>],
    norm: f64,
) -> Result<candle_core::CudaStorage> {
    let blocks = launches.iter().map(|launch| launch.blocks).sum();
    // SAFETY: each block of the launches below writes its sum.
    let sums: CudaSlice<f64> = unsafe { device.alloc(blocks) }?;
    let stream = device.cuda_stream();
    let start = address(&sums, &stream).0;
    let mut done = 0;
    for launch in launches {
        let arguments = [
            KernelArg::Parameters(&launch.arrays),
            KernelArg::int(BLOCK_LEN)?,
            KernelArg::Address(start + (8 * done) as u64),
        ];
        // SAFETY: as in `sgd_step`; there is a sum for each block.
        unsafe { module::launch(device, "gradient_squares", [launch.blocks, 1], &arguments) }?;
        done += launch.blocks;
    }
    let factor = alloc(device, MapType::F32, 1)?;
    let arguments = [
        KernelArg::Address(start),
        KernelArg::int(blocks)?,
        KernelArg::Double(norm),
        KernelArg::Double(CLIP_EPS),
        KernelArg::Address(address_of(&factor)?),
    ];
    // SAFETY: there are as many sums, and the factor is one number.
    unsafe { module::launch(device, "clip_factor", [1, 1], &arguments) }?;
    Ok(factor)
}
