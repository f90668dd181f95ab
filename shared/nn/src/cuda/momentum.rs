//! The step of all parameters in one launch: a table of where they lie is sent to the device each
//! time, since gradients lie somewhere else each time.

use candle_core::{Result, Storage, Tensor, bail, cuda_backend::CudaDevice};

use super::{
    address,
    kernels::{self, Argument},
    map::{at_floats, with_storages},
};
use crate::momentum::{SgdConfig, SgdParam};

/// Elements of one block.
const PIECE: usize = 1 << 14;

/// Takes a step of all parameters, unless the loss is no number.
pub fn descend(rates: &SgdConfig, loss: &Tensor, descents: &[SgdParam]) -> Result<()> {
    let mut arrays: Vec<u64> = Vec::with_capacity(4 * descents.len());
    let mut pieces: Vec<i32> = Vec::new();
    for (array, descent) in descents.iter().enumerate() {
        let SgdParam {
            parameter,
            velocity,
            gradient,
        } = descent;
        let len = parameter.elem_count();
        if [velocity.elem_count(), gradient.elem_count()] != [len; 2] {
            bail!("a parameter of {len} numbers with {velocity:?} and {gradient:?}")
        }
        for tensor in [parameter.as_tensor(), velocity, gradient] {
            arrays.push(place(tensor)?);
        }
        arrays.push(len as u64);
        for piece in 0..len.div_ceil(PIECE) {
            pieces.extend([int(array)?, int(piece)?]);
        }
    }
    with_storages([loss], |[(loss, layout)]| {
        let device: &CudaDevice = &loss.device;
        let stream = device.cuda_stream();
        let (arrays, pieces) = (device.clone_htod(&arrays)?, device.clone_htod(&pieces)?);
        let arguments = [
            Argument::At(address(&arrays, &stream).0),
            Argument::At(address(&pieces, &stream).0),
            Argument::int(PIECE)?,
            Argument::At(at_floats(loss, layout)?),
            Argument::Float(rates.rate),
            Argument::Float(rates.momentum),
            Argument::Float(rates.decay),
        ];
        // SAFETY: the table's addresses are those of live tensors of the lengths beside them; both
        // tables are freed in the order of the stream, after the kernel.
        unsafe { kernels::launch(device, "momentum", [pieces.len() / 2, 1], &arguments) }
    })
}

/// Where a contiguous f32 tensor lies, without a copy of it.
fn place(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => at_floats(storage, layout),
        _ => bail!("a tensor on CUDA is needed"),
    }
}

fn int(number: usize) -> Result<i32> {
    i32::try_from(number).map_err(candle_core::Error::wrap)
}
