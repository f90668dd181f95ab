//! Winograd transforms of F(4x4, 3x3) (Lavin and Gray, "Fast algorithms for convolutional neural
//! networks", 2016), on vectors of 16 channels.
//!
//! The interpolation points in each direction are 0, ±1/√2, ±√2 and infinity. They are symmetric
//! around 1 on a logarithmic scale, which keeps rounding errors to a third of those at the usual 0,
//! ±1, ±2 and infinity. In the code, `near` belongs to ±1/√2 and `far` to ±√2.

use std::{
    f32::consts::{FRAC_1_SQRT_2, SQRT_2},
    mem::MaybeUninit,
};

use crate::simd::F32x16;

/// Outputs of a tile in each direction.
pub const TILE_OUT: usize = 4;
/// Input pixels of a tile, and points of the transform domain, in each direction.
pub const TILE_IN: usize = TILE_OUT + 2;
/// Points of the transform domain.
pub const POINTS: usize = TILE_IN * TILE_IN;

/// A one-dimensional transform of `N` vectors to `M`.
pub trait Transform<const N: usize, const M: usize> {
    /// Applies it.
    fn apply<V: F32x16>(values: [V; N]) -> [V; M];
}

/// Input transform `B^T`: six pixels to six points.
pub struct InputTransform;

impl Transform<TILE_IN, TILE_IN> for InputTransform {
    #[inline(always)]
    fn apply<V: F32x16>(x: [V; TILE_IN]) -> [V; TILE_IN] {
        let near = x[2].mul_add(V::splat(-2.0), x[4]);
        let near_odd = x[3].mul_add(V::splat(FRAC_1_SQRT_2), x[1] * V::splat(-SQRT_2));
        let far = x[2].mul_add(V::splat(-0.5), x[4]);
        let far_odd = x[3].mul_add(V::splat(SQRT_2), x[1] * V::splat(-FRAC_1_SQRT_2));
        [
            x[2].mul_add(V::splat(-2.5), x[0] + x[4]),
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            x[3].mul_add(V::splat(-2.5), x[1] + x[5]),
        ]
    }
}

/// Output transform `A^T`: six points to four outputs.
pub struct OutputTransform;

impl Transform<TILE_IN, TILE_OUT> for OutputTransform {
    #[inline(always)]
    fn apply<V: F32x16>(m: [V; TILE_IN]) -> [V; TILE_OUT] {
        let (near, near_odd) = (m[1] + m[2], m[1] - m[2]);
        let (far, far_odd) = (m[3] + m[4], m[3] - m[4]);
        [
            m[0] + near + far,
            near_odd.mul_add(V::splat(FRAC_1_SQRT_2), far_odd * V::splat(SQRT_2)),
            near.mul_add(V::splat(0.5), far * V::splat(2.0)),
            near_odd.mul_add(
                V::splat(0.5 * FRAC_1_SQRT_2),
                far_odd.mul_add(V::splat(2.0 * SQRT_2), m[5]),
            ),
        ]
    }
}

/// Transform `A` of the output gradient: the transpose of [`OutputTransform`].
pub struct GradOutputTransform;

impl Transform<TILE_OUT, TILE_IN> for GradOutputTransform {
    #[inline(always)]
    fn apply<V: F32x16>(y: [V; TILE_OUT]) -> [V; TILE_IN] {
        let near = y[2].mul_add(V::splat(0.5), y[0]);
        let near_odd = y[3].mul_add(
            V::splat(0.5 * FRAC_1_SQRT_2),
            y[1] * V::splat(FRAC_1_SQRT_2),
        );
        let far = y[2].mul_add(V::splat(2.0), y[0]);
        let far_odd = y[3].mul_add(V::splat(2.0 * SQRT_2), y[1] * V::splat(SQRT_2));
        [
            y[0],
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            y[3],
        ]
    }
}

/// Lagrange normalization: 1 / the product of a point's differences from the other points.
const NEAR_SCALE: f32 = -2.0 / 3.0;
const FAR_SCALE: f32 = 1.0 / 6.0;

/// Weight transform `G`: three taps to six points.
pub struct WeightTransform;

impl Transform<3, TILE_IN> for WeightTransform {
    #[inline(always)]
    fn apply<V: F32x16>(w: [V; 3]) -> [V; TILE_IN] {
        let near = w[2].mul_add(V::splat(0.5), w[0]) * V::splat(NEAR_SCALE);
        let near_odd = w[1] * V::splat(FRAC_1_SQRT_2 * NEAR_SCALE);
        let far = w[2].mul_add(V::splat(2.0), w[0]) * V::splat(FAR_SCALE);
        let far_odd = w[1] * V::splat(SQRT_2 * FAR_SCALE);
        [
            w[0],
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            w[2],
        ]
    }
}

/// Transform `G^T` of the weight gradient: the transpose of [`WeightTransform`].
pub struct WeightGradTransform;

impl Transform<TILE_IN, 3> for WeightGradTransform {
    #[inline(always)]
    fn apply<V: F32x16>(u: [V; TILE_IN]) -> [V; 3] {
        let (near, near_odd) = (
            (u[1] + u[2]) * V::splat(NEAR_SCALE),
            (u[1] - u[2]) * V::splat(FRAC_1_SQRT_2 * NEAR_SCALE),
        );
        let (far, far_odd) = (
            (u[3] + u[4]) * V::splat(FAR_SCALE),
            (u[3] - u[4]) * V::splat(SQRT_2 * FAR_SCALE),
        );
        [
            u[0] + near + far,
            near_odd + far_odd,
            near.mul_add(V::splat(0.5), far.mul_add(V::splat(2.0), u[5])),
        ]
    }
}

/// Source of a square of vectors.
pub trait TileSource {
    /// The vector in row `y` and column `x`.
    ///
    /// # Safety
    /// It can be read.
    unsafe fn load<V: F32x16>(&self, y: usize, x: usize) -> V;
}

/// Destination of a square of vectors.
pub trait TileSink {
    /// Writes the vector in row `y` and column `x`.
    ///
    /// # Safety
    /// It can be written.
    unsafe fn store<V: F32x16>(&mut self, y: usize, x: usize, value: V);
}

/// Two-dimensional transform `T X T^T`: `[N][N]` to `[M][M]`. Vectors are loaded and stored one by
/// one where they are needed: copies of whole squares would take most of the time.
///
/// # Safety
/// `from` has `N` x `N` vectors, `to` has room for `M` x `M`.
#[inline(always)]
pub unsafe fn transform_2d<T: Transform<N, M>, V: F32x16, const N: usize, const M: usize>(
    from: impl TileSource,
    mut to: impl TileSink,
) {
    // Intermediate result, `[M][N]`; initializing it would cost a fifth of the transform.
    let mut between = MaybeUninit::<[[V; N]; M]>::uninit();
    let between = between.as_mut_ptr().cast::<V>();
    let zero = V::splat(0.0);
    for x in 0..N {
        let mut column = [zero; N];
        for y in 0..N {
            // SAFETY: as the caller promises.
            column[y] = unsafe { from.load(y, x) };
        }
        let column = T::apply(column);
        for y in 0..M {
            // SAFETY: inside the array.
            unsafe { between.add(y * N + x).write(column[y]) };
        }
    }
    for y in 0..M {
        // SAFETY: all rows have been written above.
        let row = T::apply(unsafe { between.add(y * N).cast::<[V; N]>().read() });
        for x in 0..M {
            // SAFETY: as the caller promises.
            unsafe { to.store(y, x, row[x]) };
        }
    }
}
