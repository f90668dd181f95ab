//! Walks over `[rows, channels]` slices, sixteen channels at a time: what is to be done with a row
//! comes in, sums or new rows go out.

use crate::simd::{LANES, Lanes};

/// The blocks of up to sixteen channels: (first, how many).
#[inline(always)]
pub(crate) fn blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels)
        .step_by(LANES)
        .map(move |first| (first, (channels - first).min(LANES)))
}

/// Sums of `terms` over all rows, of a block of channels of `[rows, channels]` slices.
#[inline(always)]
pub(crate) fn sum_rows<L: Lanes, const N: usize, const M: usize>(
    channels: usize,
    first: usize,
    count: usize,
    slices: [&[f32]; N],
    terms: impl OfRow<L, N, M>,
) -> [L; M] {
    /// Sums that go on side by side, so that none waits for the one before it.
    const AT_ONCE: usize = 4;
    let mut sums = [[L::splat(0.0); M]; AT_ONCE];
    let len = slices[0].len();
    assert!(slices.iter().all(|slice| slice.len() == len));
    let rows = len / channels;
    let whole = rows - rows % AT_ONCE;
    // SAFETY: the block lies in every row, and all rows in every slice.
    unsafe {
        for row in (0..whole).step_by(AT_ONCE) {
            for i in 0..AT_ONCE {
                let at = (row + i) * channels + first;
                let values = terms.of(load_row(slices, at, count));
                for m in 0..M {
                    sums[i][m] = sums[i][m] + values[m];
                }
            }
        }
        for row in whole..rows {
            let values = terms.of(load_row(slices, row * channels + first, count));
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

/// What is computed of a block of a row's channels in several slices.
pub(crate) trait OfRow<L: Lanes, const N: usize, const M: usize> {
    fn of(&self, row: [L; N]) -> [L; M];
}

/// `count` numbers of each slice, from number `at` on.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_row<L: Lanes, const N: usize>(
    slices: [&[f32]; N],
    at: usize,
    count: usize,
) -> [L; N] {
    let mut values = [L::splat(0.0); N];
    for n in 0..N {
        // SAFETY: as the caller promises.
        values[n] = unsafe { L::load_first(slices[n].as_ptr().add(at), count) };
    }
    values
}

/// Writes `f` of every row's block of channels.
///
/// # Safety
/// There is room for as much in every output as there is in every slice.
#[inline(always)]
pub(crate) unsafe fn map_rows<L: Lanes, const N: usize, const M: usize>(
    channels: usize,
    (first, count): (usize, usize),
    slices: [&[f32]; N],
    outputs: [*mut f32; M],
    f: impl OfRow<L, N, M>,
) {
    let len = slices[0].len();
    assert!(slices.iter().all(|slice| slice.len() == len));
    for at in (first..len).step_by(channels) {
        // SAFETY: the block lies in the row, and the row in every slice.
        unsafe {
            let values = f.of(load_row(slices, at, count));
            for m in 0..M {
                values[m].store_first(outputs[m].add(at), count);
            }
        }
    }
}

/// A block of each of the slices of numbers per channel.
#[inline(always)]
pub(crate) fn load_block<L: Lanes, const N: usize>(
    slices: [&[f32]; N],
    (first, count): (usize, usize),
) -> [L; N] {
    assert!(slices.iter().all(|slice| slice.len() >= first + count));
    // SAFETY: the slices have so many numbers, as asserted.
    unsafe { load_row(slices, first, count) }
}
