//! Microkernels of the convolutions, with all sums in registers: rows times a packed panel of 16
//! columns, and sums of outer products. Every sum is added up in one fixed order, whatever else is
//! in the register block, so the result of an image does not depend on its batch.

use crate::simd::{F32x16, LANES, prefetch};

/// How a row lies in memory: `depth` floats, in segments of `len`, each `stride` floats after the
/// one before.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// Floats of a row.
    pub depth: usize,
    /// Floats of a segment; the last may be shorter.
    pub len: usize,
    /// From the start of one segment to that of the next.
    pub stride: usize,
}

/// `sums` plus the product of `R` rows with a panel `[depth][16]`; row `r` starts at
/// `left + rows[r]`. Prefetches the panel that follows: panels are read in memory order, from a
/// distant cache.
///
/// # Safety
/// All segments of the rows and the whole panel can be read.
#[inline(always)]
pub unsafe fn rows_times_panel<V: F32x16, const R: usize>(
    mut sums: [V; R],
    left: *const f32,
    rows: [usize; R],
    segments: Segments,
    mut panel: *const f32,
) -> [V; R] {
    let mut start = left;
    let mut remaining = segments.depth;
    let panel_len = segments.depth * LANES;
    // SAFETY: only floats of the rows and the panel are read, as the caller promises.
    unsafe {
        while remaining > 0 {
            let len = remaining.min(segments.len);
            for at in 0..len {
                prefetch(panel.wrapping_add(panel_len));
                let columns = V::load(panel);
                for row in 0..R {
                    let factor = V::splat(*start.add(rows[row] + at));
                    sums[row] = factor.mul_add(columns, sums[row]);
                }
                panel = panel.add(LANES);
            }
            start = start.wrapping_add(segments.stride);
            remaining -= len;
        }
    }
    sums
}

/// Adds `count` outer products to `R` rows of 16 sums, `stride` floats apart from `sums` on: `R`
/// floats of each row of `left` `[count][16]` times all 16 of the same row of `right`
/// `[count][16]`. With `overwrite`, the old sums are not read.
///
/// # Safety
/// `left` and `right` can be read; `sums` can be written and, without `overwrite`, read.
#[inline(always)]
pub unsafe fn add_outer_products<V: F32x16, const R: usize>(
    count: usize,
    mut left: *const f32,
    mut right: *const f32,
    (sums, stride): (*mut f32, usize),
    overwrite: bool,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut local = [V::splat(0.0); R];
        if !overwrite {
            for row in 0..R {
                local[row] = V::load(sums.add(row * stride));
            }
        }
        for _ in 0..count {
            let columns = V::load(right);
            for row in 0..R {
                let factor = V::splat(*left.add(row));
                local[row] = factor.mul_add(columns, local[row]);
            }
            left = left.wrapping_add(LANES);
            right = right.wrapping_add(LANES);
        }
        for row in 0..R {
            local[row].store(sums.add(row * stride));
        }
    }
}

/// Rows of the next register block, of `left` rows: as many as there are registers for, then at
/// most six at a time.
#[inline(always)]
pub fn block_rows<V: F32x16>(left: usize) -> usize {
    match left {
        _ if left >= V::ROWS => V::ROWS,
        0..=6 => left,
        _ => 6,
    }
}

/// Loops over `$total` rows in register blocks: `$body` is compiled for each block height, the
/// constant `$R`; `$at` is the first row of the block.
macro_rules! for_row_blocks {
    ($V:ident, $total:expr, |$at:ident, $R:ident| $body:expr) => {
        for_row_blocks!(@ $V, $total, $at, $R, $body, 1 2 3 4 5 6 16)
    };
    (@ $V:ident, $total:expr, $at:ident, $R:ident, $body:expr, $($rows:literal)*) => {{
        let total = $total;
        let mut $at = 0;
        while $at < total {
            let rows = crate::microkernel::block_rows::<$V>(total - $at);
            match rows {
                $($rows => { const $R: usize = $rows; $body })*
                _ => unreachable!("block_rows returns one of these"),
            }
            $at += rows;
        }
    }};
}

pub(crate) use for_row_blocks;
