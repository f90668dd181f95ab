//! The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast algorithms for convolutional
//! neural networks", 2016): pixels, outputs and filters of sixteen channels at once come in, their
//! values at the 6 x 6 points go out, and the other way round.
//!
//! A convolution is a product of polynomials, which is computed at six points in each direction:
//! 0, ±1/√2, ±√2 and infinity. These lie symmetrically around 1 on a logarithmic scale, which
//! keeps rounding errors a third of those at the usual 0, ±1, ±2 and infinity.

use super::super::lanes::Lanes;

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

/// Six pixels to the six points.
#[inline(always)]
pub fn pixels<L: Lanes>(x: [L; SIDE]) -> [L; SIDE] {
    let f = L::splat;
    let near = x[2].times_plus(f(-2.0), x[4]);
    let near_odd = x[3].times_plus(f(A), x[1] * f(-B));
    let far = x[2].times_plus(f(-0.5), x[4]);
    let far_odd = x[3].times_plus(f(B), x[1] * f(-A));
    [
        x[2].times_plus(f(-2.5), x[0] + x[4]),
        near + near_odd,
        near - near_odd,
        far + far_odd,
        far - far_odd,
        x[3].times_plus(f(-2.5), x[1] + x[5]),
    ]
}

/// The six points to four outputs.
#[inline(always)]
pub fn outputs<L: Lanes>(m: [L; SIDE]) -> [L; TILE] {
    let f = L::splat;
    let (near, near_odd) = (m[1] + m[2], m[1] - m[2]);
    let (far, far_odd) = (m[3] + m[4], m[3] - m[4]);
    [
        m[0] + near + far,
        near_odd.times_plus(f(A), far_odd * f(B)),
        near.times_plus(f(0.5), far * f(2.0)),
        near_odd.times_plus(f(0.5 * A), far_odd.times_plus(f(2.0 * B), m[5])),
    ]
}

/// Four outputs' gradients to those of the six points: the transpose of [`outputs`].
#[inline(always)]
pub fn outputs_transposed<L: Lanes>(y: [L; TILE]) -> [L; SIDE] {
    let f = L::splat;
    let near = y[2].times_plus(f(0.5), y[0]);
    let near_odd = y[3].times_plus(f(0.5 * A), y[1] * f(A));
    let far = y[2].times_plus(f(2.0), y[0]);
    let far_odd = y[3].times_plus(f(2.0 * B), y[1] * f(B));
    [
        y[0],
        near + near_odd,
        near - near_odd,
        far + far_odd,
        far - far_odd,
        y[3],
    ]
}

/// 1 / the products of the differences between a point of a pair and the other points.
const NEAR: f32 = -2.0 / 3.0;
const FAR: f32 = 1.0 / 6.0;

/// Three taps of a filter to the six points.
#[inline(always)]
pub fn filter<L: Lanes>(w: [L; 3]) -> [L; SIDE] {
    let f = L::splat;
    let near = w[2].times_plus(f(0.5), w[0]) * f(NEAR);
    let near_odd = w[1] * f(A * NEAR);
    let far = w[2].times_plus(f(2.0), w[0]) * f(FAR);
    let far_odd = w[1] * f(B * FAR);
    [
        w[0],
        near + near_odd,
        near - near_odd,
        far + far_odd,
        far - far_odd,
        w[2],
    ]
}

/// The six points' gradients to those of three taps: the transpose of [`filter`].
#[inline(always)]
pub fn filter_transposed<L: Lanes>(u: [L; SIDE]) -> [L; 3] {
    let f = L::splat;
    let (near, near_odd) = ((u[1] + u[2]) * f(NEAR), (u[1] - u[2]) * f(A * NEAR));
    let (far, far_odd) = ((u[3] + u[4]) * f(FAR), (u[3] - u[4]) * f(B * FAR));
    [
        u[0] + near + far,
        near_odd + far_odd,
        near.times_plus(f(0.5), far.times_plus(f(2.0), u[5])),
    ]
}

/// A transform in one direction applied in both: `[N][N]` to `[M][M]`, row by row.
#[inline(always)]
pub fn both_ways<L: Lanes, const N: usize, const M: usize>(
    one_way: impl Fn([L; N]) -> [L; M],
    values: [[L; N]; N],
) -> [[L; M]; M] {
    let zero = L::splat(0.0);
    let mut down = [[zero; N]; M];
    for column in 0..N {
        let transformed = one_way(std::array::from_fn(|row| values[row][column]));
        for (row, value) in down.iter_mut().zip(transformed) {
            row[column] = value;
        }
    }
    down.map(one_way)
}
