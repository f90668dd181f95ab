//! Images of bytes as models see them: bytes and a window come in, floats in `[0,1]` go out, what the
//! window shows stretched to the whole image and perhaps mirrored.

use std::{array::from_fn, ops::Range};

use candle_core::{Device, Result, Tensor, bail};

#[cfg(feature = "cuda")]
use super::cuda;

/// Bytes of an image.
pub(crate) const PIXELS: usize = 3 * 32 * 32;

/// Pixels along an edge.
const SIDE: usize = 32;

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
        height: SIDE as i32,
        width: SIDE as i32,
        mirrored: false,
    };

    /// Writes what is seen of `pixels`, 3x32x32 planar bytes, to `out`, as many floats.
    ///
    /// # Panics
    /// When either is not [`PIXELS`] long, or a smaller window is not inside.
    pub fn show(&self, pixels: &[u8], out: &mut [f32]) {
        assert_eq!((pixels.len(), out.len()), (PIXELS, PIXELS));
        if (self.height, self.width) == (SIDE as i32, SIDE as i32) {
            self.shift(pixels, out);
        } else {
            self.resize(pixels, out);
        }
        if self.mirrored {
            out.chunks_exact_mut(SIDE).for_each(<[f32]>::reverse);
        }
    }

    /// A window as large as the image.
    fn shift(&self, pixels: &[u8], out: &mut [f32]) {
        out.fill(0.0);
        // What window and image share: where in the image, and from where on in the window.
        let overlap = |start: i32| -> (Range<usize>, usize) {
            let clamp = |place: i32| place.clamp(0, SIDE as i32) as usize;
            (
                clamp(start)..clamp(start.saturating_add(SIDE as i32)),
                clamp(-start),
            )
        };
        let ((rows, row_out), (columns, column_out)) = (overlap(self.top), overlap(self.left));
        for (plane, plane_out) in planes(pixels).zip(out.chunks_exact_mut(SIDE * SIDE)) {
            for (i, row) in rows.clone().enumerate() {
                let from = &plane[row * SIDE..][columns.clone()];
                let to = &mut plane_out[(row_out + i) * SIDE..];
                to_floats(from, &mut to[column_out.min(SIDE)..][..from.len()]);
            }
        }
    }

    /// Bilinear interpolation to 32x32 (`align_corners=False`): along rows first, then along
    /// columns, in units of bytes, where no rounding leaves `[0,255]`.
    fn resize(&self, pixels: &[u8], out: &mut [f32]) {
        let [top, left, height, width] =
            [self.top, self.left, self.height, self.width].map(|length| length as usize);
        let (columns, rows) = (taps(width), taps(height));
        let mut wide = [[0.0f32; SIDE]; SIDE];
        for (plane, plane_out) in planes(pixels).zip(out.chunks_exact_mut(SIDE * SIDE)) {
            for (row, wide) in wide.iter_mut().take(height).enumerate() {
                let row = &plane[(top + row) * SIDE + left..][..width];
                for (float, tap) in wide.iter_mut().zip(&columns) {
                    *float = tap.blend(f32::from(row[tap.first]), f32::from(row[tap.second]));
                }
            }
            for (row_out, tap) in plane_out.chunks_exact_mut(SIDE).zip(&rows) {
                let (above, below) = (&wide[tap.first], &wide[tap.second]);
                for ((float, a), b) in row_out.iter_mut().zip(above).zip(below) {
                    *float = tap.blend(*a, *b) / 255.0;
                }
            }
        }
    }
}

/// Images of bytes for a CUDA device, which shows them by itself.
#[derive(Debug)]
pub enum ImagePool {
    /// They are on the device, `[N,3072]`.
    Resident(Tensor),
    /// They stay in the host's memory; each batch passes through pinned memory while the device is
    /// still at work on the one before.
    #[cfg(feature = "cuda")]
    Passing(std::sync::Mutex<cuda::Passage>),
}

impl ImagePool {
    /// Brings `[N,3072]` bytes to a CUDA device if they fit there with as much left for the work;
    /// none on the CPU, where bytes need not be brought anywhere.
    pub fn new(pixels: &[u8], device: &Device) -> Result<Option<Self>> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(on) = device {
            if cuda::free_memory(on)? / 2 <= pixels.len() as u64 {
                return Self::passing(device);
            }
            let shape = (pixels.len() / PIXELS, PIXELS);
            let resident = Tensor::from_slice(pixels, shape, device)?;
            return Ok(Some(Self::Resident(resident)));
        }
        let _ = (pixels, device);
        Ok(None)
    }

    /// Lets images pass to a CUDA device batch by batch, even if they would fit.
    pub fn passing(device: &Device) -> Result<Option<Self>> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(on) = device {
            return Ok(Some(Self::Passing(cuda::Passage::new(on).into())));
        }
        let _ = device;
        Ok(None)
    }

    /// Whether all of them are on the device.
    pub fn are_resident(&self) -> bool {
        matches!(self, Self::Resident(_))
    }

    /// What `windows` show of the images at `rows` of `pixels`, the bytes that these were made
    /// of: `[B,3,32,32]`.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn show(&self, pixels: &[u8], rows: &[u32], windows: &[CropWindow]) -> Result<Tensor> {
        let pictures = pixels.len() / PIXELS;
        if rows.len() != windows.len() || rows.iter().any(|&row| row as usize >= pictures) {
            bail!("{} windows on rows of {pictures} images", windows.len())
        }
        match self {
            #[cfg(feature = "cuda")]
            Self::Resident(pixels) => cuda::show(pixels, rows, windows),
            #[cfg(not(feature = "cuda"))]
            Self::Resident(_) => bail!("no image is resident without CUDA"),
            #[cfg(feature = "cuda")]
            Self::Passing(passage) => {
                let mut passage = passage
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                let brought = passage.bring(pixels, rows)?;
                let rows: Vec<u32> = (0..rows.len() as u32).collect();
                cuda::show(&brought, &rows, windows)
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
    pixels.chunks_exact(SIDE * SIDE)
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
fn taps(length: usize) -> [Tap; SIDE] {
    from_fn(|i| {
        let place = (i as f32 + 0.5) * (length as f32 / SIDE as f32) - 0.5;
        let place = place.max(0.0);
        let first = place as usize;
        Tap {
            first,
            second: (first + 1).min(length - 1),
            weight: place - first as f32,
        }
    })
}
