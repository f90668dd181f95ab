//! The one inner loop of all convolutions: an 8 x 32 tile of a matrix product. Two packed
//! panels come in, the tile goes out; every element is summed in the order of the panels,
//! whatever stands beside it, so a picture's result never depends on its batch.

use std::sync::OnceLock;

/// Rows of a tile: output channels.
pub const ROWS: usize = 8;
/// Columns of a tile: output positions, two AVX-512 registers.
pub const COLUMNS: usize = 32;

/// An 8 x 32 tile, row by row.
pub type Tile = [f32; ROWS * COLUMNS];

/// Adds `left^T x right` to the tile: `left` is `[depth][ROWS]`, `right` is `[depth][COLUMNS]`.
pub fn multiply_add(left: &[f32], right: &[f32], tile: &mut Tile) {
    let depth = left.len() / ROWS;
    assert!(left.len() == depth * ROWS && right.len() == depth * COLUMNS);
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    let kernel = *KERNEL.get_or_init(fastest);
    // SAFETY: `fastest` returns a kernel whose instructions this processor has, and the panels
    // hold `depth` rows as asserted above.
    unsafe { kernel(left, right, tile) }
}

type Kernel = unsafe fn(&[f32], &[f32], &mut Tile);

fn fastest() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return x86::avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return x86::avx2;
        }
    }
    portable
}

/// For processors without AVX2: plain loops, which the compiler vectorises as it can.
fn portable(left: &[f32], right: &[f32], tile: &mut Tile) {
    for (l, r) in left.chunks_exact(ROWS).zip(right.chunks_exact(COLUMNS)) {
        for (row, &factor) in tile.chunks_exact_mut(COLUMNS).zip(l) {
            for (sum, &value) in row.iter_mut().zip(r) {
                *sum += factor * value;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{COLUMNS, ROWS, Tile};
    use std::arch::x86_64::*;

    /// 16 accumulators of 16 floats.
    ///
    /// # Safety
    /// The processor has AVX-512F; both panels hold `left.len() / ROWS` rows.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512(left: &[f32], right: &[f32], tile: &mut Tile) {
        // SAFETY: row r, half h of the tile is 16 floats at r * 32 + h * 16; the panels are as
        // long as the caller promises.
        unsafe {
            let out = tile.as_mut_ptr();
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for (r, row) in sums.iter_mut().enumerate() {
                for (h, sum) in row.iter_mut().enumerate() {
                    *sum = _mm512_loadu_ps(out.add(r * COLUMNS + h * 16));
                }
            }
            let (mut l, mut r) = (left.as_ptr(), right.as_ptr());
            for _ in 0..left.len() / ROWS {
                let halves = [_mm512_loadu_ps(r), _mm512_loadu_ps(r.add(16))];
                for (i, row) in sums.iter_mut().enumerate() {
                    let factor = _mm512_set1_ps(*l.add(i));
                    row[0] = _mm512_fmadd_ps(factor, halves[0], row[0]);
                    row[1] = _mm512_fmadd_ps(factor, halves[1], row[1]);
                }
                l = l.add(ROWS);
                r = r.add(COLUMNS);
            }
            for (r, row) in sums.iter().enumerate() {
                for (h, sum) in row.iter().enumerate() {
                    _mm512_storeu_ps(out.add(r * COLUMNS + h * 16), *sum);
                }
            }
        }
    }

    /// Four parts of 4 x 16, each in 8 accumulators of 8 floats: AVX2 has 16 registers.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA; both panels hold `left.len() / ROWS` rows.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(left: &[f32], right: &[f32], tile: &mut Tile) {
        // SAFETY: each part is 4 rows and 16 columns inside the tile; the panels are as long as
        // the caller promises.
        unsafe {
            for (top, side) in [(0, 0), (0, 16), (4, 0), (4, 16)] {
                let out = tile.as_mut_ptr().add(top * COLUMNS + side);
                let mut sums = [[_mm256_setzero_ps(); 2]; 4];
                for (r, row) in sums.iter_mut().enumerate() {
                    for (h, sum) in row.iter_mut().enumerate() {
                        *sum = _mm256_loadu_ps(out.add(r * COLUMNS + h * 8));
                    }
                }
                let (mut l, mut r) = (left.as_ptr().add(top), right.as_ptr().add(side));
                for _ in 0..left.len() / ROWS {
                    let halves = [_mm256_loadu_ps(r), _mm256_loadu_ps(r.add(8))];
                    for (i, row) in sums.iter_mut().enumerate() {
                        let factor = _mm256_set1_ps(*l.add(i));
                        row[0] = _mm256_fmadd_ps(factor, halves[0], row[0]);
                        row[1] = _mm256_fmadd_ps(factor, halves[1], row[1]);
                    }
                    l = l.wrapping_add(ROWS);
                    r = r.wrapping_add(COLUMNS);
                }
                for (r, row) in sums.iter().enumerate() {
                    for (h, sum) in row.iter().enumerate() {
                        _mm256_storeu_ps(out.add(r * COLUMNS + h * 8), *sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn every_kernel_of_this_processor_computes_the_same_tile() {
        let mut stream = Stream::new(1, "tile", &[]);
        let mut draw =
            |n: usize| -> Vec<f32> { (0..n).map(|_| stream.between(-1.0, 1.0) as f32).collect() };
        for depth in [0, 1, 7, 100] {
            let (left, right) = (draw(depth * ROWS), draw(depth * COLUMNS));
            let start: Tile = draw(ROWS * COLUMNS).try_into().unwrap();
            let mut expected = start;
            portable(&left, &right, &mut expected);
            let mut kernels: Vec<Kernel> = vec![fastest()];
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                kernels.push(x86::avx2);
            }
            for kernel in kernels {
                let mut tile = start;
                unsafe { kernel(&left, &right, &mut tile) };
                for (a, b) in tile.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()));
                }
            }
        }
    }
}
