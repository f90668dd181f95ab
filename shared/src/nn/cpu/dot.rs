//! The inner loop of weight gradients: 4 x 6 dot products at once. Rows of equal length come in,
//! their products are added to a tile of sums; 16 partial sums run along each row, then meet.

use std::sync::OnceLock;

/// Left rows of a tile: output channels.
pub const LEFT: usize = 4;
/// Right rows of a tile: taps of the kernel.
pub const RIGHT: usize = 6;
/// Rows are padded with zeros to a multiple of this.
pub const LANES: usize = 16;

/// Sums of a tile.
pub type Sums = [[f32; RIGHT]; LEFT];

/// Adds the dot products of `LEFT` rows and `RIGHT` rows, each `length` floats (a multiple of
/// [`LANES`]) and stored one after the other.
pub fn multiply_add(left: &[f32], right: &[f32], length: usize, sums: &mut Sums) {
    assert!(length.is_multiple_of(LANES));
    assert!(left.len() == LEFT * length && right.len() == RIGHT * length);
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    let kernel = *KERNEL.get_or_init(fastest);
    // SAFETY: `fastest` returns a kernel whose instructions this processor has, and the lengths
    // are as asserted above.
    unsafe { kernel(left, right, length, sums) }
}

type Kernel = unsafe fn(&[f32], &[f32], usize, &mut Sums);

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
fn portable(left: &[f32], right: &[f32], length: usize, sums: &mut Sums) {
    if length == 0 {
        return;
    }
    for (l, row) in left.chunks_exact(length).zip(sums) {
        for (r, sum) in right.chunks_exact(length).zip(row) {
            let mut lanes = [0.0; LANES];
            for (a, b) in l.chunks_exact(LANES).zip(r.chunks_exact(LANES)) {
                for ((lane, x), y) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += x * y;
                }
            }
            *sum += lanes.iter().sum::<f32>();
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LEFT, RIGHT, Sums};
    use std::arch::x86_64::*;

    /// 24 accumulators of 16 floats.
    ///
    /// # Safety
    /// The processor has AVX-512F; `left` and `right` hold 4 and 6 rows of `length` floats.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512(left: &[f32], right: &[f32], length: usize, sums: &mut Sums) {
        // SAFETY: every load is 16 floats inside a row, as the caller promises.
        unsafe {
            let mut lanes = [[_mm512_setzero_ps(); RIGHT]; LEFT];
            for at in (0..length).step_by(16) {
                let mut columns = [_mm512_setzero_ps(); RIGHT];
                for (j, column) in columns.iter_mut().enumerate() {
                    *column = _mm512_loadu_ps(right.as_ptr().add(j * length + at));
                }
                for (i, row) in lanes.iter_mut().enumerate() {
                    let value = _mm512_loadu_ps(left.as_ptr().add(i * length + at));
                    for (lane, column) in row.iter_mut().zip(&columns) {
                        *lane = _mm512_fmadd_ps(value, *column, *lane);
                    }
                }
            }
            for (row, sums) in lanes.iter().zip(sums) {
                for (lane, sum) in row.iter().zip(sums) {
                    *sum += _mm512_reduce_add_ps(*lane);
                }
            }
        }
    }

    /// Two halves of 2 x 6, each in 12 accumulators of 8 floats: AVX2 has 16 registers.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA; `left` and `right` hold 4 and 6 rows of `length` floats.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(left: &[f32], right: &[f32], length: usize, sums: &mut Sums) {
        // SAFETY: every load is 8 floats inside a row, as the caller promises.
        unsafe {
            for (half, sums) in sums.chunks_exact_mut(2).enumerate() {
                let left = left.as_ptr().add(half * 2 * length);
                let mut lanes = [[_mm256_setzero_ps(); RIGHT]; 2];
                for at in (0..length).step_by(8) {
                    let values = [
                        _mm256_loadu_ps(left.add(at)),
                        _mm256_loadu_ps(left.add(length + at)),
                    ];
                    let [first, second] = &mut lanes;
                    for (j, (first, second)) in first.iter_mut().zip(second).enumerate() {
                        let column = _mm256_loadu_ps(right.as_ptr().add(j * length + at));
                        *first = _mm256_fmadd_ps(values[0], column, *first);
                        *second = _mm256_fmadd_ps(values[1], column, *second);
                    }
                }
                for (row, sums) in lanes.iter().zip(sums) {
                    for (lane, sum) in row.iter().zip(sums) {
                        let mut parts = [0f32; 8];
                        _mm256_storeu_ps(parts.as_mut_ptr(), *lane);
                        *sum += parts.iter().sum::<f32>();
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
    fn every_kernel_of_this_processor_computes_the_same_sums() {
        let mut stream = Stream::new(1, "dot", &[]);
        let mut draw =
            |n: usize| -> Vec<f32> { (0..n).map(|_| stream.between(-1.0, 1.0) as f32).collect() };
        for length in [0, 16, 160] {
            let (left, right) = (draw(LEFT * length), draw(RIGHT * length));
            let mut expected = [[0.5; RIGHT]; LEFT];
            portable(&left, &right, length, &mut expected);
            let mut kernels: Vec<Kernel> = vec![fastest()];
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                kernels.push(x86::avx2);
            }
            for kernel in kernels {
                let mut sums = [[0.5; RIGHT]; LEFT];
                unsafe { kernel(&left, &right, length, &mut sums) };
                for (a, b) in sums.iter().flatten().zip(expected.iter().flatten()) {
                    assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()));
                }
            }
        }
    }
}
