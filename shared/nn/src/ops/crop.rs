//! Random crop and flip: a window of an image of bytes, resized to the whole image and perhaps mirrored, as
//! floats in `[0,1]`.

use std::{array::from_fn, ops::Range, sync::Mutex};

use candle_core::{Device, Result, Tensor, bail};

use super::locked;
use crate::cuda;

/// Bytes of an image.
pub const IMAGE_BYTES: usize = 3 * IMAGE_SIZE * IMAGE_SIZE;

/// Pixels along an edge.
const IMAGE_SIZE: usize = 32;

/// A part of an image, in whole pixels: inside it, or as large as it and partly beyond, where
/// zeros are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CropWindow {
    /// First row.
    pub top: i32,
    /// First column.
    pub left: i32,
    /// Rows, 1 to 32.
    pub height: i32,
    /// Columns, 1 to 32.
    pub width: i32,
    /// Whether left and right change places.
    pub mirrored: bool,
}

impl CropWindow {
    /// All of an image, as it is.
    pub const WHOLE: Self = Self {
        top: 0,
        left: 0,
        height: IMAGE_SIZE as i32,
        width: IMAGE_SIZE as i32,
        mirrored: false,
    };

    /// Crops and resizes `pixels`, 3x32x32 planar bytes, into `out`, as many floats.
    ///
    /// # Panics
    /// When either is not 3072 long, or a smaller window is not inside.
    pub fn crop_resize(&self, pixels: &[u8], out: &mut [f32]) {
        assert_eq!((pixels.len(), out.len()), (IMAGE_BYTES, IMAGE_BYTES));
        if (self.height, self.width) == (IMAGE_SIZE as i32, IMAGE_SIZE as i32) {
            self.shift(pixels, out);
        } else {
            self.resize(pixels, out);
        }
        if self.mirrored {
            out.chunks_exact_mut(IMAGE_SIZE).for_each(<[f32]>::reverse);
        }
    }

    /// A window as large as the image.
    fn shift(&self, pixels: &[u8], out: &mut [f32]) {
        out.fill(0.0);
        // What window and image share: where in the image, and from where on in the window.
        let overlap = |start: i32| -> (Range<usize>, usize) {
            let clamp = |place: i32| place.clamp(0, IMAGE_SIZE as i32) as usize;
            (
                clamp(start)..clamp(start.saturating_add(IMAGE_SIZE as i32)),
                clamp(-start),
            )
        };
        let ((rows, row_out), (columns, column_out)) = (overlap(self.top), overlap(self.left));
        for (plane, plane_out) in planes(pixels).zip(out.chunks_exact_mut(IMAGE_SIZE * IMAGE_SIZE))
        {
            for (i, row) in rows.clone().enumerate() {
                let from = &plane[row * IMAGE_SIZE..][columns.clone()];
                let to = &mut plane_out[(row_out + i) * IMAGE_SIZE..];
                to_floats(from, &mut to[column_out.min(IMAGE_SIZE)..][..from.len()]);
            }
        }
    }

    /// Bilinear interpolation to 32x32 (`align_corners=False`): along rows first, then along
    /// columns, in units of bytes, where no rounding leaves `[0,255]`.
    fn resize(&self, pixels: &[u8], out: &mut [f32]) {
        let [top, left, height, width] =
            [self.top, self.left, self.height, self.width].map(|length| length as usize);
        let (columns, rows) = (taps(width), taps(height));
        let mut wide = [[0.0f32; IMAGE_SIZE]; IMAGE_SIZE];
        for (plane, plane_out) in planes(pixels).zip(out.chunks_exact_mut(IMAGE_SIZE * IMAGE_SIZE))
        {
            for (row, wide) in wide.iter_mut().take(height).enumerate() {
                let row = &plane[(top + row) * IMAGE_SIZE + left..][..width];
                for (float, tap) in wide.iter_mut().zip(&columns) {
                    *float = tap.blend(f32::from(row[tap.first]), f32::from(row[tap.second]));
                }
            }
            for (row_out, tap) in plane_out.chunks_exact_mut(IMAGE_SIZE).zip(&rows) {
                let (above, below) = (&wide[tap.first], &wide[tap.second]);
                for ((float, a), b) in row_out.iter_mut().zip(above).zip(below) {
                    *float = tap.blend(*a, *b) / 255.0;
                }
            }
        }
    }
}

/// Images of bytes that a CUDA device crops and resizes by itself.
#[derive(Debug)]
pub enum ImagePool {
    /// They are on the device, `[N,3072]`.
    Resident(Tensor),
    /// They stay in the host's memory; each batch is uploaded through pinned memory while the device
    /// still computes the one before.
    Streamed(Mutex<cuda::PinnedUploader>),
}

impl ImagePool {
    /// A pool of `[N,3072]` bytes for a CUDA device, resident if they fit with as much memory left for the
    /// work; `None` for the CPU, which needs no pool.
    pub fn new(pixels: &[u8], device: &Device) -> Result<Option<Self>> {
        let Device::Cuda(cuda_device) = device else {
            return Ok(None);
        };
        if cuda::free_memory(cuda_device)? / 2 <= pixels.len() as u64 {
            return Self::streamed(device);
        }
        let shape = (pixels.len() / IMAGE_BYTES, IMAGE_BYTES);
        Ok(Some(Self::Resident(Tensor::from_slice(
            pixels, shape, device,
        )?)))
    }

    /// A pool that uploads each batch, even if all images would fit.
    pub fn streamed(device: &Device) -> Result<Option<Self>> {
        match device {
            Device::Cuda(device) => {
                let uploader = cuda::PinnedUploader::new(device)?;
                Ok(Some(Self::Streamed(uploader.into())))
            }
            _ => Ok(None),
        }
    }

    /// Whether all of them are on the device.
    pub fn is_resident(&self) -> bool {
        matches!(self, Self::Resident(_))
    }

    /// A window of each of the images at `rows` of `pixels`, the bytes that this was made of:
    /// `[B,3,32,32]`.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn crop_resize(
        &self,
        pixels: &[u8],
        rows: &[u32],
        windows: &[CropWindow],
    ) -> Result<Tensor> {
        let images = pixels.len() / IMAGE_BYTES;
        if rows.len() != windows.len() || rows.iter().any(|&row| row as usize >= images) {
            bail!("{} windows on rows of {images} images", windows.len())
        }
        match self {
            Self::Resident(pixels) => cuda::crop_resize(pixels, rows, windows),
            Self::Streamed(uploader) => {
                let uploaded = locked(uploader).upload(pixels, rows)?;
                let rows: Vec<u32> = (0..rows.len() as u32).collect();
                cuda::crop_resize(&uploaded, &rows, windows)
            }
        }
    }
}

fn to_floats(pixels: &[u8], out: &mut [f32]) {
    for (float, byte) in out.iter_mut().zip(pixels) {
        *float = f32::from(*byte) / 255.0;
    }
}

fn planes(pixels: &[u8]) -> std::slice::ChunksExact<'_, u8> {
    pixels.chunks_exact(IMAGE_SIZE * IMAGE_SIZE)
}

/// Which two neighbors make an interpolated value, and the second one's weight.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

impl Tap {
    fn blend(&self, first: f32, second: f32) -> f32 {
        first + self.weight * (second - first)
    }
}

/// The taps that stretch `length` pixels (at most 32) to 32.
fn taps(length: usize) -> [Tap; IMAGE_SIZE] {
    from_fn(|i| {
        let place = (i as f32 + 0.5) * (length as f32 / IMAGE_SIZE as f32) - 0.5;
        let place = place.max(0.0);
        let first = place as usize;
        Tap {
            first,
            second: (first + 1).min(length - 1),
            weight: place - first as f32,
        }
    })
}
