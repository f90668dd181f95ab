//! The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast algorithms for convolutional
//! neural networks", 2016): pixels, outputs and filters of sixteen channels at once come in, their
//! values at the 6 x 6 points go out, and the other way round.
//!
//! A convolution is a product of polynomials, which is computed at six points in each direction:
//! 0, ±1/√2, ±√2 and infinity. These lie symmetrically around 1 on a logarithmic scale, which
//! keeps rounding errors a third of those at the usual 0, ±1, ±2 and infinity.

use std::mem::MaybeUninit;

use crate::simd::Lanes;

/// Outputs of a tile in each direction.
pub const TILE: usize = 4;
/// Points, and pixels under a tile, in each direction.
pub const SIDE: usize = TILE + 2;
/// Points in the plane.
pub const POINTS: usize = SIDE * SIDE;

/// The first pair of points, ±1/√2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// The second pair, ±√2 = ±1/A.
const B: f32 = std::f32::consts::SQRT_2;

/// A linear map of `N` values to `M`, each of sixteen channels.
pub trait Transform<const N: usize, const M: usize> {
    /// Applies it.
    fn apply<L: Lanes>(values: [L; N]) -> [L; M];
}

/// Six pixels to the six points.
pub struct Pixels;

impl Transform<SIDE, SIDE> for Pixels {
    #[inline(always)]
    fn apply<L: Lanes>(x: [L; SIDE]) -> [L; SIDE] {
        let near = x[2].times_plus(L::splat(-2.0), x[4]);
        let near_odd = x[3].times_plus(L::splat(A), x[1] * L::splat(-B));
        let far = x[2].times_plus(L::splat(-0.5), x[4]);
        let far_odd = x[3].times_plus(L::splat(B), x[1] * L::splat(-A));
        [
            x[2].times_plus(L::splat(-2.5), x[0] + x[4]),
            near + near_odd,
            near - near_odd,
            far + far_odd,
            far - far_odd,
            x[3].times_plus(L::splat(-2.5), x[1] + x[5]),
        ]
    }
}

/// The six points to four outputs.
pub struct Outputs;

impl Transform<SIDE, TILE> for Outputs {
    #[inline(always)]
    fn apply<L: Lanes>(m: [L; SIDE]) -> [L; TILE] {
        let (near, near_odd) = (m[1] + m[2], m[1] - m[2]);
        let (far, far_odd) = (m[3] + m[4], m[3] - m[4]);
        [
            m[0] + near + far,
            near_odd.times_plus(L::splat(A), far_odd * L::splat(B)),
            near.times_plus(L::splat(0.5), far * L::splat(2.0)),
            near_odd.times_plus(
                L::splat(0.5 * A),
                far_odd.times_plus(L::splat(2.0 * B), m[5]),
            ),
        ]
    }
}

/// Four outputs' gradients to those of the six points: the transpose of [`Outputs`].
pub struct OutputsTransposed;

impl Transform<TILE, SIDE> for OutputsTransposed {
    #[inline(always)]
    fn apply<L: Lanes>(y: [L; TILE]) -> [L; SIDE] {
        let near = y[2].times_plus(L::splat(0.5), y[0]);
        let near_odd = y[3].times_plus(L::splat(0.5 * A), y[1] * L::splat(A));
        let far = y[2].times_plus(L::splat(2.0), y[0]);
        let far_odd = y[3].times_plus(L::splat(2.0 * B), y[1] * L::splat(B));
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

/// 1 / the products of the differences between a point of a pair and the other points.
const NEAR: f32 = -2.0 / 3.0;
const FAR: f32 = 1.0 / 6.0;

/// Three taps of a filter to the six points.
pub struct Filter;

impl Transform<3, SIDE> for Filter {
    #[inline(always)]
    fn apply<L: Lanes>(w: [L; 3]) -> [L; SIDE] {
        let near = w[2].times_plus(L::splat(0.5), w[0]) * L::splat(NEAR);
        let near_odd = w[1] * L::splat(A * NEAR);
        let far = w[2].times_plus(L::splat(2.0), w[0]) * L::splat(FAR);
        let far_odd = w[1] * L::splat(B * FAR);
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

/// The six points' gradients to those of three taps: the transpose of [`Filter`].
pub struct FilterTransposed;

impl Transform<SIDE, 3> for FilterTransposed {
    #[inline(always)]
    fn apply<L: Lanes>(u: [L; SIDE]) -> [L; 3] {
        let (near, near_odd) = (
            (u[1] + u[2]) * L::splat(NEAR),
            (u[1] - u[2]) * L::splat(A * NEAR),
        );
        let (far, far_odd) = (
            (u[3] + u[4]) * L::splat(FAR),
            (u[3] - u[4]) * L::splat(B * FAR),
        );
        [
            u[0] + near + far,
            near_odd + far_odd,
            near.times_plus(L::splat(0.5), far.times_plus(L::splat(2.0), u[5])),
        ]
    }
}

/// Where squares of values, each of sixteen channels, come from.
pub trait Source {
    /// The value in row `y` and column `x`.
    ///
    /// # Safety
    /// There is one.
    unsafe fn load<L: Lanes>(&self, y: usize, x: usize) -> L;
}

/// Where they go.
pub trait Target {
    /// Writes the value of row `y` and column `x`.
    ///
    /// # Safety
    /// There is a place for it.
    unsafe fn store<L: Lanes>(&mut self, y: usize, x: usize, value: L);
}

/// The transform `T` in both directions: `[N][N]` to `[M][M]`. Every value is loaded and stored
/// right where it is needed: copies of whole squares would take most of the time.
///
/// # Safety
/// `from` has `N` x `N` values, `to` places for `M` x `M`.
#[inline(always)]
pub unsafe fn both_ways<T: Transform<N, M>, L: Lanes, const N: usize, const M: usize>(
    from: impl Source,
    mut to: impl Target,
) {
    // Between the directions, `[M][N]`: cleared first, it would cost a fifth more.
    let mut between = MaybeUninit::<[[L; N]; M]>::uninit();
    let between = between.as_mut_ptr().cast::<L>();
    let zero = L::splat(0.0);
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
        // SAFETY: all rows have just been written.
        let row = T::apply(unsafe { between.add(y * N).cast::<[L; N]>().read() });
        for x in 0..M {
            // SAFETY: as the caller promises.
            unsafe { to.store(y, x, row[x]) };
        }
    }
}
