//! 3x3 convolutions of stride 1 and padding 1 with a quarter of the multiplications: pictures
//! `[B,H,W,C]` and filters come in, pictures or filters' gradients go out.
//!
//! Each tile of 4 x 4 outputs is computed at 36 points ([`transform`]), where the convolution is
//! 36 matrix products of the tiles' channels with the filters'. [`forward`] takes few tiles at a
//! time, so that all of it stays in a core's own cache; [`gradient`] adds up the filters'
//! gradient at the points over all tiles.

mod forward;
mod gradient;
mod pack;
mod transform;

pub use forward::correlate;
pub use gradient::filter_gradient;
pub use pack::Filters;

use super::{
    geometry::Pictures,
    lanes::{LANES, Lanes},
};
use transform::{POINTS, Pixels, SIDE, TILE};

/// How a picture is cut into tiles.
trait Tiled {
    fn tiles_across(&self) -> usize;
    fn tiles_down(&self) -> usize;

    fn tiles(&self) -> usize {
        self.tiles_across() * self.tiles_down()
    }

    /// Blocks of sixteen channels.
    fn blocks(&self) -> usize;

    /// Rows of tiles that can be computed apart from others: one if no row is cut off by a
    /// picture's edge, else a picture's.
    fn strip(&self) -> Strip;
}

impl Tiled for Pictures {
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
    /// Strips of a picture.
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
    pictures: Pictures,
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

/// Writes the values of strips of pictures at the points, tile after tile from `points` on;
/// `zeros` are as many as a position has channels, rounded up to whole blocks.
///
/// # Safety
/// `points` is tile 0 of `layout` or a later one, with as many tiles after it as the strips have.
#[inline(always)]
unsafe fn to_points<L: Lanes>(
    pictures: Pictures,
    strips: std::ops::Range<usize>,
    values: &[f32],
    zeros: &[f32],
    layout: Layout,
    points: *mut f32,
) {
    let channels = pictures.channels;
    assert!(values.len() == pictures.len() && zeros.len() >= channels.next_multiple_of(LANES));
    assert!(layout.blocks == pictures.blocks());
    for (tile, (image, top, left)) in tile_corners(pictures, strips).enumerate() {
        let image = &values[image * pictures.image_len()..][..pictures.image_len()];
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
            let first = block * LANES;
            let count = (channels - first).min(LANES);
            // SAFETY: each place is followed by `channels` floats; the points have room, as the
            // caller promises.
            unsafe {
                let pixels = load_places::<L, SIDE>(&places, first, count);
                let values = transform::both_ways::<Pixels, L, SIDE, SIDE>(pixels);
                store_points(
                    values,
                    points.add(layout.at(0, block, tile)),
                    layout.point(),
                );
            }
        }
    }
}

/// Sixteen channels, or the first `count` of them, from number `first` on, at each place.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_places<L: Lanes, const N: usize>(
    places: &[[*const f32; N]; N],
    first: usize,
    count: usize,
) -> [[L; N]; N] {
    let mut values = [[L::splat(0.0); N]; N];
    for y in 0..N {
        for x in 0..N {
            // SAFETY: as the caller promises.
            values[y][x] = unsafe { L::load_first(places[y][x].add(first), count) };
        }
    }
    values
}

/// The values of a block at the 36 points, which lie `step` floats apart.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_points<L: Lanes>(from: *const f32, step: usize) -> [[L; SIDE]; SIDE] {
    let mut values = [[L::splat(0.0); SIDE]; SIDE];
    for y in 0..SIDE {
        for x in 0..SIDE {
            // SAFETY: as the caller promises.
            values[y][x] = unsafe { L::load(from.add((y * SIDE + x) * step)) };
        }
    }
    values
}

/// Writes them.
///
/// # Safety
/// There is room for them.
#[inline(always)]
unsafe fn store_points<L: Lanes>(values: [[L; SIDE]; SIDE], to: *mut f32, step: usize) {
    for y in 0..SIDE {
        for x in 0..SIDE {
            // SAFETY: as the caller promises.
            unsafe { values[y][x].store(to.add((y * SIDE + x) * step)) };
        }
    }
}
