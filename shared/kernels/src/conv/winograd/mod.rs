//! Winograd convolution F(4x4, 3x3), for 3x3 kernels with stride 1 and padding 1: a quarter of the
//! multiplications of the direct one.
//!
//! Each tile of 4 x 4 outputs is computed in the transform domain of 6 x 6 = 36 points
//! (`transform`), where the convolution is one matrix product per point: tiles by input channels
//! times input channels by output channels (`forward`, for the input gradient as well). The weight
//! gradient (`weight_gradient`) is summed over all tiles in the transform domain.

mod forward;
mod output;
mod transform;
mod weight_gradient;
mod weights;

pub use forward::conv2d;
pub use weight_gradient::weight_gradient;
pub use weights::WinogradWeights;

use crate::{
    shape::NhwcShape,
    simd::{F32x16, LANES},
};
use transform::{InputTransform, POINTS, TILE_IN, TILE_OUT, TileSink, TileSource, Transform};

/// Tiling of an image.
trait Tiled {
    fn tiles_across(&self) -> usize;
    fn tiles_down(&self) -> usize;

    fn tiles(&self) -> usize {
        self.tiles_across() * self.tiles_down()
    }

    /// Blocks of 16 channels.
    fn blocks(&self) -> usize;

    /// The band of tile rows that a task computes at least: one row, or all rows of an image if the
    /// last one is cut off by the image's edge.
    fn band(&self) -> Band;
}

impl Tiled for NhwcShape {
    fn tiles_across(&self) -> usize {
        self.width.div_ceil(TILE_OUT)
    }

    fn tiles_down(&self) -> usize {
        self.height.div_ceil(TILE_OUT)
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    fn band(&self) -> Band {
        let rows = if self.height.is_multiple_of(TILE_OUT) {
            1
        } else {
            self.tiles_down()
        };
        Band {
            rows,
            tiles: rows * self.tiles_across(),
            per_image: self.tiles_down() / rows,
        }
    }
}

/// A band of tile rows, the smallest unit of work.
#[derive(Clone, Copy, Debug)]
struct Band {
    /// Tile rows.
    rows: usize,
    /// Tiles.
    tiles: usize,
    /// Bands of an image.
    per_image: usize,
}

/// Layout of tiles in the transform domain: `[point][block][tile][16]`, where a block is 16
/// channels.
#[derive(Clone, Copy, Debug)]
struct TileLayout {
    tiles: usize,
    blocks: usize,
}

impl TileLayout {
    /// Stride of a point. One vector more than a point's values: 36 addresses at multiples of a
    /// large power of two would compete for the same cache sets.
    fn point(&self) -> usize {
        (self.blocks * self.tiles + 1) * LANES
    }

    fn at(&self, point: usize, block: usize, tile: usize) -> usize {
        point * self.point() + (block * self.tiles + tile) * LANES
    }

    fn len(&self) -> usize {
        POINTS * self.point()
    }
}

/// Upper left output pixel of each tile in consecutive bands: (image, row, column).
fn tile_corners(
    shape: NhwcShape,
    bands: std::ops::Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let band = shape.band();
    bands.flat_map(move |at| {
        let (image, first) = (at / band.per_image, at % band.per_image * band.rows);
        (0..band.tiles).map(move |tile| {
            let across = shape.tiles_across();
            let (row, column) = (first + tile / across, tile % across);
            (image, row * TILE_OUT, column * TILE_OUT)
        })
    })
}

/// Input transform (`B^T d B`) of the tiles in `bands`, written tile after tile from `points` on.
/// `zeros` stands for pixels beyond the edges: at least one position's channels, rounded up to
/// blocks.
///
/// # Safety
/// `points` is a tile of `layout`, with as many tiles from there on as the bands have.
#[inline(always)]
unsafe fn input_transform<V: F32x16>(
    shape: NhwcShape,
    bands: std::ops::Range<usize>,
    values: &[f32],
    zeros: &[f32],
    layout: TileLayout,
    points: *mut f32,
) {
    let channels = shape.channels;
    assert!(values.len() == shape.numel() && zeros.len() >= channels.next_multiple_of(LANES));
    assert!(layout.blocks == shape.blocks());
    for (tile, (image, top, left)) in tile_corners(shape, bands).enumerate() {
        let image = &values[image * shape.image_numel()..][..shape.image_numel()];
        // Input pixels of a tile start one row and column before its outputs.
        let place = |y: usize, x: usize| match (
            (top + y).checked_sub(1).filter(|y| *y < shape.height),
            (left + x).checked_sub(1).filter(|x| *x < shape.width),
        ) {
            (Some(y), Some(x)) => image[(y * shape.width + x) * channels..].as_ptr(),
            _ => zeros.as_ptr(),
        };
        let places: [[*const f32; TILE_IN]; TILE_IN] =
            std::array::from_fn(|y| std::array::from_fn(|x| place(y, x)));
        for block in 0..layout.blocks {
            let start = layout.at(0, block, tile);
            // SAFETY: `channels` floats follow each pixel pointer; the layout has room, as the
            // caller promises.
            unsafe {
                let to = TransformedTile {
                    start: points.add(start),
                    step: layout.point(),
                };
                PixelGrid::new(&places, channels, block)
                    .transform::<InputTransform, V, TILE_IN>(to);
            }
        }
    }
}

/// A block of up to 16 channels at each of `N` x `N` pixels.
#[derive(Clone, Copy)]
struct PixelGrid<'a, const N: usize> {
    places: &'a [[*const f32; N]; N],
    first: usize,
    count: usize,
}

impl<'a, const N: usize> PixelGrid<'a, N> {
    /// Block number `block` of the pixels' channels.
    fn new(places: &'a [[*const f32; N]; N], channels: usize, block: usize) -> Self {
        let first = block * LANES;
        Self {
            places,
            first,
            count: (channels - first).min(LANES),
        }
    }

    /// Transforms them with `T`.
    ///
    /// # Safety
    /// The pixels can be read, and `to` has room.
    #[inline(always)]
    unsafe fn transform<T: Transform<N, M>, V: F32x16, const M: usize>(self, to: TransformedTile) {
        // SAFETY: as the caller promises.
        unsafe {
            if self.count == LANES {
                // Compiled without a branch at each load.
                let whole = Self {
                    count: LANES,
                    ..self
                };
                transform::transform_2d::<T, V, N, M>(whole, to);
            } else {
                transform::transform_2d::<T, V, N, M>(self, to);
            }
        }
    }
}

impl<const N: usize> TileSource for PixelGrid<'_, N> {
    #[inline(always)]
    unsafe fn load<V: F32x16>(&self, y: usize, x: usize) -> V {
        // SAFETY: as the caller promises.
        unsafe { V::load_partial(self.places[y][x].add(self.first), self.count) }
    }
}

/// A tile of a block in the transform domain: 36 points, `step` floats apart.
#[derive(Clone, Copy)]
struct TransformedTile {
    start: *mut f32,
    step: usize,
}

impl TransformedTile {
    #[inline(always)]
    fn at(&self, y: usize, x: usize) -> *mut f32 {
        self.start.wrapping_add((y * TILE_IN + x) * self.step)
    }
}

impl TileSource for TransformedTile {
    #[inline(always)]
    unsafe fn load<V: F32x16>(&self, y: usize, x: usize) -> V {
        // SAFETY: as the caller promises.
        unsafe { V::load(self.at(y, x)) }
    }
}

impl TileSink for TransformedTile {
    #[inline(always)]
    unsafe fn store<V: F32x16>(&mut self, y: usize, x: usize, value: V) {
        // SAFETY: as the caller promises.
        unsafe { value.store(self.at(y, x)) }
    }
}
