//! Pictures of bytes that stay on the device, and what windows show of them.

use candle_core::{
    CudaStorage, Error, Result, Storage, Tensor, bail,
    cuda_backend::{CudaDevice, cudarc::driver::result::mem_get_info},
};

use super::{
    Kind, address,
    kernels::{self, Argument},
    map::{at, room, tensor},
};
use crate::{cifar10::PIXELS, nn::show::Window};

/// Bytes that nobody uses.
pub fn free_memory(device: &CudaDevice) -> Result<usize> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(Error::wrap)?;
    Ok(mem_get_info().map_err(Error::wrap)?.0)
}

/// What `windows` show of the rows of `pixels` `[N,3072]`, as many windows as rows, all of them
/// rows that there are.
pub fn show(pixels: &Tensor, rows: &[u32], windows: &[Window]) -> Result<Tensor> {
    let (storage, layout) = pixels.storage_and_layout();
    let pixels: &CudaStorage = match &*storage {
        Storage::Cuda(storage) if layout.start_offset() == 0 => storage,
        _ => bail!("whole pictures on CUDA are needed"),
    };
    let (device, len) = (&pixels.device, rows.len() * PIXELS);
    let stream = device.cuda_stream();
    let numbers = windows.iter().flat_map(|window| {
        let Window {
            top,
            left,
            height,
            width,
            mirrored,
        } = *window;
        [top, left, height, width, mirrored.into()]
    });
    let numbers: Vec<i32> = numbers.collect();
    let (rows_on, windows_on) = (device.clone_htod(rows)?, device.clone_htod(&numbers)?);
    let shown = room(device, Kind::F32, len)?;
    let arguments = [
        Argument::At(at(pixels)?),
        Argument::At(address(&rows_on, &stream).0),
        Argument::At(address(&windows_on, &stream).0),
        Argument::At(at(&shown)?),
        Argument::long(len)?,
    ];
    // SAFETY: rows are those of pictures, and there is a window for each; both lists are freed in
    // the order of the stream, after the kernel.
    unsafe { kernels::for_each(device, "show", len, &arguments) }?;
    Ok(tensor(shown, (rows.len(), 3, 32, 32)))
}
