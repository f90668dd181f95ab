//! Images of bytes on the device, where they stay or pass through, and what windows show of them.

use candle_core::{
    CudaStorage, Error, Result, Storage, Tensor, bail,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{
            PinnedHostSlice,
            result::{self as driver, mem_get_info},
            sys::CUmemPool_attribute,
        },
    },
};
use rayon::prelude::*;

use super::{
    Kind, address,
    kernels::{self, Argument},
    map::{at, room, tensor},
};
use crate::show::CropWindow;
use crate::show::PIXELS;

/// Bytes that nobody uses.
pub fn free_memory(device: &CudaDevice) -> Result<u64> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(Error::wrap)?;
    Ok(mem_get_info().map_err(Error::wrap)?.0 as u64)
}

/// Bytes that were in use at once, at most, since the device was opened.
pub fn peak_memory(device: &CudaDevice) -> Result<u64> {
    let context = device.cuda_stream().context().clone();
    context.bind_to_thread().map_err(Error::wrap)?;
    let mut peak = 0u64;
    // SAFETY: the device is open; the attribute is a u64, as the driver's manual says.
    unsafe {
        let pool = driver::device::get_default_mem_pool(context.cu_device());
        driver::mem_pool::get_attribute(
            pool.map_err(Error::wrap)?,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH,
            std::ptr::from_mut(&mut peak).cast(),
        )
        .map_err(Error::wrap)?;
    }
    Ok(peak)
}

/// Two places of pinned memory, through which batches of bytes go to a device by turns: one is
/// filled while the other's copy, and all that was asked for before it, is under way.
#[derive(Debug)]
pub struct Passage {
    device: CudaDevice,
    places: [Option<PinnedHostSlice<u8>>; 2],
}

impl Passage {
    /// To this device.
    pub fn new(device: &CudaDevice) -> Self {
        Self {
            device: device.clone(),
            places: [None, None],
        }
    }

    /// Brings the images at `rows` of `pixels` to the device, `[rows or more, 3072]`; all rows
    /// are those of images.
    pub fn bring(&mut self, pixels: &[u8], rows: &[u32]) -> Result<Tensor> {
        self.places.rotate_left(1);
        let (len, stream) = (rows.len() * PIXELS, self.device.cuda_stream());
        let place = match &mut self.places[0] {
            Some(place) if place.len() >= len => place,
            place => {
                // SAFETY: every byte is written before any is read.
                let mut new = unsafe { stream.context().alloc_pinned::<u8>(len) };
                if let Ok(new) = &mut new {
                    let start = new.as_mut_ptr().map_err(Error::wrap)?;
                    // SAFETY: there is room for so many bytes.
                    unsafe { start.write_bytes(0, len) };
                }
                place.insert(new.map_err(Error::wrap)?)
            }
        };
        // Waits for the place's own copy, two batches ago.
        let bytes = place.as_mut_slice().map_err(Error::wrap)?;
        let pictures = bytes[..len].par_chunks_exact_mut(PIXELS).zip(rows);
        pictures.for_each(|(to, &row)| {
            to.copy_from_slice(&pixels[row as usize * PIXELS..][..PIXELS]);
        });
        let on_device = stream.clone_htod(place).map_err(Error::wrap)?;
        let shape = (place.len() / PIXELS, PIXELS);
        let storage = CudaStorage::wrap_cuda_slice(on_device, self.device.clone());
        Ok(tensor(storage, shape))
    }
}

/// What `windows` show of the rows of `pixels` `[N,3072]`, as many windows as rows, all of them
/// rows that there are.
pub fn show(pixels: &Tensor, rows: &[u32], windows: &[CropWindow]) -> Result<Tensor> {
    let (storage, layout) = pixels.storage_and_layout();
    let pixels: &CudaStorage = match &*storage {
        Storage::Cuda(storage) if layout.start_offset() == 0 => storage,
        _ => bail!("whole images on CUDA are needed"),
    };
    let (device, len) = (&pixels.device, rows.len() * PIXELS);
    let stream = device.cuda_stream();
    let numbers = windows.iter().flat_map(|window| {
        let CropWindow {
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
    // SAFETY: rows are those of images, and there is a window for each; both lists are freed in
    // the order of the stream, after the kernel.
    unsafe { kernels::for_each(device, "show", len, &arguments) }?;
    Ok(tensor(shown, (rows.len(), 3, 32, 32)))
}
