//! Discrete cosine transform of 8x8 blocks and its inverse with twelve multiplications for each line (Loeffler,
//! Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989; their variant
//! with one more).
//!
//! Fixed point: constants have 13 bits after the point, values between the two passes 2. The places and the direction
//! of every rounding are libjpeg's.

use super::BLOCK;

type Line = [i32; BLOCK];

/// Bits of the constants after the point.
const BITS: u32 = 13;

/// Additional bits of the values between the passes.
const BETWEEN: u32 = 2;

/// A constant in fixed point.
const fn fixed(constant: f64) -> i32 {
    (constant * (1 << BITS) as f64 + 0.5) as i32
}

/// Coefficients of a block, 8 times as large as those of the orthonormal transform.
pub fn forward(block: &mut [i32; BLOCK * BLOCK]) {
    each_row(block, |line| forward_line(line, -(BETWEEN as i32)));
    each_column(block, |line| forward_line(line, BETWEEN as i32));
}

/// The values of a block of coefficients, rounded.
pub fn inverse(block: &mut [i32; BLOCK * BLOCK]) {
    each_column(block, |line| inverse_line(line, BITS - BETWEEN));
    each_row(block, |line| inverse_line(line, BITS + BETWEEN + 3));
}

fn each_row(block: &mut [i32; BLOCK * BLOCK], transform: impl Fn(&Line) -> Line) {
    for row in block.chunks_exact_mut(BLOCK) {
        let line = std::array::from_fn(|i| row[i]);
        row.copy_from_slice(&transform(&line));
    }
}

fn each_column(block: &mut [i32; BLOCK * BLOCK], transform: impl Fn(&Line) -> Line) {
    for column in 0..BLOCK {
        let line = std::array::from_fn(|i| block[i * BLOCK + column]);
        for (row, value) in transform(&line).into_iter().enumerate() {
            block[row * BLOCK + column] = value;
        }
    }
}

/// Drops so many bits, rounding half up; adds them where the number is negative.
fn shifted(value: i32, bits: i32) -> i32 {
    match bits {
        ..=0 => value << -bits,
        _ => (value + (1 << (bits - 1))) >> bits,
    }
}

/// The rotation of the two middle even coefficients: (a, b) to (a cos + b sin, a sin - b cos), scaled by the square
/// root of 2, by three multiplications.
fn rotated(a: i32, b: i32) -> [i32; 2] {
    let common = (a + b) * fixed(0.541196100);
    [
        common + a * fixed(0.765366865),
        common - b * fixed(1.847759065),
    ]
}

/// The odd half of a line: four values through three stages of rotations. Its own transpose, so it serves both ways.
fn odd([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let common = (a + c + b + d) * fixed(1.175875602);
    let outer = -(a + d) * fixed(0.899976223);
    let inner = -(b + c) * fixed(2.562915447);
    let even = common - (a + c) * fixed(1.961570560);
    let odd = common - (b + d) * fixed(0.390180644);
    [
        a * fixed(0.298631336) + outer + even,
        b * fixed(2.053119869) + inner + odd,
        c * fixed(3.072711026) + inner + even,
        d * fixed(1.501321110) + outer + odd,
    ]
}

/// One line; `drop` is how many bits of the fixed point the result has fewer than the line.
fn forward_line(line: &Line, drop: i32) -> Line {
    let sum = |i: usize| line[i] + line[BLOCK - 1 - i];
    let difference = |i: usize| line[i] - line[BLOCK - 1 - i];
    let (outer, inner) = (sum(0) + sum(3), sum(1) + sum(2));
    let [second, sixth] = rotated(sum(0) - sum(3), sum(1) - sum(2));
    let [seventh, fifth, third, first] = odd([3, 2, 1, 0].map(difference));
    let product = |value: i32| shifted(value, BITS as i32 + drop);
    [
        shifted(outer + inner, drop),
        product(first),
        product(second),
        product(third),
        shifted(outer - inner, drop),
        product(fifth),
        product(sixth),
        product(seventh),
    ]
}

/// One line; `drop` is how many bits are rounded off at the end.
fn inverse_line(line: &Line, drop: u32) -> Line {
    let [outer, inner] = rotated(line[2], line[6]);
    let (sum, difference) = ((line[0] + line[4]) << BITS, (line[0] - line[4]) << BITS);
    let even = [
        sum + outer,
        difference + inner,
        difference - inner,
        sum - outer,
    ];
    let mut odd = odd([line[7], line[5], line[3], line[1]]);
    odd.reverse();
    std::array::from_fn(|i| {
        let value = match i {
            0..4 => even[i] + odd[i],
            _ => even[7 - i] - odd[7 - i],
        };
        shifted(value, drop as i32)
    })
}
