//! 3x3 convolutions of stride 1 and padding 1 with a quarter of the multiplications: images
//! `[B,H,W,C]` and filters come in, images or filters' gradients go out.
//!
//! Each tile of 4 x 4 outputs is computed at 36 points ([`transform`]), where the convolution is
//! 36 matrix products of the tiles' channels with the filters' ([`forward`]); [`gradient`] adds up
//! the filters' gradient at the points over all tiles.

mod forward;
mod output;
mod transform;
mod weight_gradient;
mod weights;

pub use forward::correlate;
pub use weight_gradient::filter_gradient;
pub use weights::Filters;

use crate::{
    shape::NhwcShape,
    simd::{LANES, Lanes},
};
use transform::{POINTS, Pixels, SIDE, Source, TILE, Target, Transform};

/// How an image is cut into tiles.
trait Tiled {
    fn tiles_across(&self) -> usize;
    fn tiles_down(&self) -> usize;

    fn tiles(&self) -> usize {
        self.tiles_across() * self.tiles_down()
    }

    /// Blocks of sixteen channels.
    fn blocks(&self) -> usize;

    /// Rows of tiles that can be computed apart from others: one if no row is cut off by a
    /// image's edge, else an image's.
    fn strip(&self) -> Strip;
}

impl Tiled for NhwcShape {
    fn tiles_across(&self) -> usize {
        self.width.div_ceil(TILE)
    }

    fn tiles_down(&self) -> usize {
        self.height.div_ceil(TILE)
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    fn strip(&self) -> Strip {
        let rows = match self.height.is_multiple_of(TILE) {
            true => 1,
            false => self.tiles_down(),
        };
        Strip {
            rows,
            tiles: rows * self.tiles_across(),
            per_image: self.tiles_down() / rows,
        }
    }
}

/// What is computed at once, at least.
#[derive(Clone, Copy, Debug)]
struct Strip {
    /// Rows of tiles.
    rows: usize,
    /// Tiles.
    tiles: usize,
    /// Strips of an image.
    per_image: usize,
}

/// How the values of some tiles at the points lie in memory: `[point][block][tile][16]`, where a
/// block is sixteen channels.
#[derive(Clone, Copy, Debug)]
struct Layout {
    tiles: usize,
    blocks: usize,
}

impl Layout {
    /// From one point to the next. A little more than there are numbers: 36 places at multiples of
    /// a large power of two would all fall into the same few lines of the cache.
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

/// Where the tiles of consecutive strips lie: (image, first row, first column) of each, in pixels.
fn tile_corners(
    pictures: NhwcShape,
    strips: std::ops::Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let strip = pictures.strip();
    strips.flat_map(move |at| {
        let (image, first) = (at / strip.per_image, at % strip.per_image * strip.rows);
        (0..strip.tiles).map(move |tile| {
            let across = pictures.tiles_across();
            let (row, column) = (first + tile / across, tile % across);
            (image, row * TILE, column * TILE)
        })
    })
}

/// Writes the values of strips of images at the points, tile after tile from `points` on;
/// `zeros` are as many as a position has channels, rounded up to whole blocks.
///
/// # Safety
/// `points` is tile 0 of `layout` or a later one, with as many tiles after it as the strips have.
#[inline(always)]
unsafe fn to_points<L: Lanes>(
    pictures: NhwcShape,
    strips: std::ops::Range<usize>,
    values: &[f32],
    zeros: &[f32],
    layout: Layout,
    points: *mut f32,
) {
    let channels = pictures.channels;
    assert!(values.len() == pictures.numel() && zeros.len() >= channels.next_multiple_of(LANES));
    assert!(layout.blocks == pictures.blocks());
    for (tile, (image, top, left)) in tile_corners(pictures, strips).enumerate() {
        let image = &values[image * pictures.image_numel()..][..pictures.image_numel()];
        // The tile's pixels begin one before its outputs; beyond the edges there are zeros.
        let place = |y: usize, x: usize| match (
            (top + y).checked_sub(1).filter(|y| *y < pictures.height),
            (left + x).checked_sub(1).filter(|x| *x < pictures.width),
        ) {
            (Some(y), Some(x)) => image[(y * pictures.width + x) * channels..].as_ptr(),
            _ => zeros.as_ptr(),
        };
        let places: [[*const f32; SIDE]; SIDE] =
            std::array::from_fn(|y| std::array::from_fn(|x| place(y, x)));
        for block in 0..layout.blocks {
            let start = layout.at(0, block, tile);
            // SAFETY: each place is followed by `channels` floats; the points have room, as the
            // caller promises.
            unsafe {
                let to = Points {
                    start: points.add(start),
                    step: layout.point(),
                };
                Places::new(&places, channels, block).transform::<Pixels, L, SIDE>(to);
            }
        }
    }
}

/// Channels from number `first` on at each of these places: sixteen, or fewer.
#[derive(Clone, Copy)]
struct Places<'a, const N: usize> {
    places: &'a [[*const f32; N]; N],
    first: usize,
    count: usize,
}

impl<'a, const N: usize> Places<'a, N> {
    /// A block of a position's channels.
    fn new(places: &'a [[*const f32; N]; N], channels: usize, block: usize) -> Self {
        let first = block * LANES;
        Self {
            places,
            first,
            count: (channels - first).min(LANES),
        }
    }

    /// Transforms them.
    ///
    /// # Safety
    /// They can be read, and `to` has room.
    #[inline(always)]
    unsafe fn transform<T: Transform<N, M>, L: Lanes, const M: usize>(self, to: Points) {
        // SAFETY: as the caller promises.
        unsafe {
            if self.count == LANES {
                // Compiled without a test at each place.
                let whole = Self {
                    count: LANES,
                    ..self
                };
                transform::both_ways::<T, L, N, M>(whole, to);
            } else {
                transform::both_ways::<T, L, N, M>(self, to);
            }
        }
    }
}

impl<const N: usize> Source for Places<'_, N> {
    #[inline(always)]
    unsafe fn load<L: Lanes>(&self, y: usize, x: usize) -> L {
        // SAFETY: as the caller promises.
        unsafe { L::load_first(self.places[y][x].add(self.first), self.count) }
    }
}

/// The values of a block at the 36 points, which lie `step` floats apart.
#[derive(Clone, Copy)]
struct Points {
    start: *mut f32,
    step: usize,
}

impl Points {
    #[inline(always)]
    fn at(&self, y: usize, x: usize) -> *mut f32 {
        self.start.wrapping_add((y * SIDE + x) * self.step)
    }
}

impl Source for Points {
    #[inline(always)]
    unsafe fn load<L: Lanes>(&self, y: usize, x: usize) -> L {
        // SAFETY: as the caller promises.
        unsafe { L::load(self.at(y, x)) }
    }
}

impl Target for Points {
    #[inline(always)]
    unsafe fn store<L: Lanes>(&mut self, y: usize, x: usize, value: L) {
        // SAFETY: as the caller promises.
        unsafe { value.store(self.at(y, x)) }
    }
}
