//! Loops over the rows of `[rows, channels]` slices in blocks of 16 channels: reductions and
//! elementwise maps.

use crate::simd::{F32x16, LANES};

/// Blocks of up to 16 channels: (first channel, count).
#[inline(always)]
pub(crate) fn blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels)
        .step_by(LANES)
        .map(move |first| (first, (channels - first).min(LANES)))
}

/// Sums of `terms` over all rows, of one block of channels.
#[inline(always)]
pub(crate) fn sum_rows<V: F32x16, const N: usize, const M: usize>(
    channels: usize,
    first: usize,
    count: usize,
    slices: [&[f32]; N],
    terms: impl RowFn<V, N, M>,
) -> [V; M] {
    /// Independent partial sums, to hide the latency of additions.
    const AT_ONCE: usize = 4;
    let mut sums = [[V::splat(0.0); M]; AT_ONCE];
    let len = slices[0].len();
    assert!(slices.iter().all(|slice| slice.len() == len));
    let rows = len / channels;
    let whole = rows - rows % AT_ONCE;
    // SAFETY: the block lies in each row, and all rows in each slice.
    unsafe {
        for row in (0..whole).step_by(AT_ONCE) {
            for i in 0..AT_ONCE {
                let at = (row + i) * channels + first;
                let values = terms.apply(load_row(slices, at, count));
                for m in 0..M {
                    sums[i][m] = sums[i][m] + values[m];
                }
            }
        }
        for row in whole..rows {
            let values = terms.apply(load_row(slices, row * channels + first, count));
            for m in 0..M {
                sums[0][m] = sums[0][m] + values[m];
            }
        }
    }
    let mut total = sums[0];
    for m in 0..M {
        total[m] = (sums[0][m] + sums[1][m]) + (sums[2][m] + sums[3][m]);
    }
    total
}

/// A function of `N` values at one place to `M` values, on a block of channels.
pub(crate) trait RowFn<V: F32x16, const N: usize, const M: usize> {
    fn apply(&self, row: [V; N]) -> [V; M];
}

/// `count` floats of each slice, from index `at` on.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_row<V: F32x16, const N: usize>(
    slices: [&[f32]; N],
    at: usize,
    count: usize,
) -> [V; N] {
    let mut values = [V::splat(0.0); N];
    for n in 0..N {
        // SAFETY: as the caller promises.
        values[n] = unsafe { V::load_partial(slices[n].as_ptr().add(at), count) };
    }
    values
}

/// Writes `f` of the block of channels of each row.
///
/// # Safety
/// Each output has room for as many floats as the slices have.
#[inline(always)]
pub(crate) unsafe fn map_rows<V: F32x16, const N: usize, const M: usize>(
    channels: usize,
    (first, count): (usize, usize),
    slices: [&[f32]; N],
    outputs: [*mut f32; M],
    f: impl RowFn<V, N, M>,
) {
    let len = slices[0].len();
    assert!(slices.iter().all(|slice| slice.len() == len));
    for at in (first..len).step_by(channels) {
        // SAFETY: the block lies in the row, and the row in each slice.
        unsafe {
            let values = f.apply(load_row(slices, at, count));
            for m in 0..M {
                values[m].store_partial(outputs[m].add(at), count);
            }
        }
    }
}

/// One block of each slice of per-channel values.
#[inline(always)]
pub(crate) fn load_block<V: F32x16, const N: usize>(
    slices: [&[f32]; N],
    (first, count): (usize, usize),
) -> [V; N] {
    assert!(slices.iter().all(|slice| slice.len() >= first + count));
    // SAFETY: the slices are long enough, as asserted.
    unsafe { load_row(slices, first, count) }
}
