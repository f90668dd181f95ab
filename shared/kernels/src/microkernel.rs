//! The two inner loops of all convolutions, whose sums stay in registers: rows times a panel of
//! sixteen columns, and sums of outer products. Every sum is added up in one order, whatever
//! stands beside it, so an image's result never depends on its batch.

use crate::simd::{LANES, Lanes, prefetch};

/// How the numbers of a row lie in memory: in segments of `length`, each `step` floats after the
/// one before, `depth` numbers in all.
#[derive(Clone, Copy, Debug)]
pub struct Segments {
    /// Numbers of a row.
    pub depth: usize,
    /// Numbers of a whole segment.
    pub length: usize,
    /// From one segment's start to the next one's.
    pub step: usize,
}

/// `sums`, and `R` rows, which start at `rows` floats from `left`, times a panel `[depth][16]`. As many
/// numbers after the panel are fetched meanwhile: panels are read in the order in which they lie in
/// memory, and come from a far cache.
///
/// # Safety
/// All of each row's segments can be read, and all of the panel.
#[inline(always)]
pub unsafe fn rows_times_panel<L: Lanes, const R: usize>(
    mut sums: [L; R],
    left: *const f32,
    rows: [usize; R],
    segments: Segments,
    mut panel: *const f32,
) -> [L; R] {
    let mut start = left;
    let mut missing = segments.depth;
    let panel_len = segments.depth * LANES;
    // SAFETY: the walk stays inside rows and panel, as the caller promises.
    unsafe {
        while missing > 0 {
            let length = missing.min(segments.length);
            for at in 0..length {
                prefetch(panel.wrapping_add(panel_len));
                let columns = L::load(panel);
                for row in 0..R {
                    let factor = L::splat(*start.add(rows[row] + at));
                    sums[row] = factor.times_plus(columns, sums[row]);
                }
                panel = panel.add(LANES);
            }
            start = start.wrapping_add(segments.step);
            missing -= length;
        }
    }
    sums
}

/// Adds to `R` rows of sums, `step` floats apart from `sums` on, for each of `count`: `R` numbers of
/// `left`, `[count][16]` from there on, times sixteen of `right`, `[count][16]`. The first time there is
/// nothing in the sums yet.
///
/// # Safety
/// All those numbers can be read, and the sums written.
#[inline(always)]
pub unsafe fn add_outer_products<L: Lanes, const R: usize>(
    count: usize,
    mut left: *const f32,
    mut right: *const f32,
    (sums, step): (*mut f32, usize),
    first_time: bool,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let mut local = [L::splat(0.0); R];
        if !first_time {
            for row in 0..R {
                local[row] = L::load(sums.add(row * step));
            }
        }
        for _ in 0..count {
            let columns = L::load(right);
            for row in 0..R {
                let factor = L::splat(*left.add(row));
                local[row] = factor.times_plus(columns, local[row]);
            }
            left = left.wrapping_add(LANES);
            right = right.wrapping_add(LANES);
        }
        for row in 0..R {
            local[row].store(sums.add(row * step));
        }
    }
}

/// How many of `left` rows go together: as many as there are registers for, then what is left.
#[inline(always)]
pub fn rows_at_once<L: Lanes>(left: usize) -> usize {
    match left {
        _ if left >= L::ROWS => L::ROWS,
        0..=6 => left,
        _ => 6,
    }
}

/// Goes through `$total` rows, some at once: `$body` is compiled with the constant `$R` = how
/// many, `$at` is the first of them.
macro_rules! by_rows {
    ($L:ident, $total:expr, |$at:ident, $R:ident| $body:expr) => {
        by_rows!(@ $L, $total, $at, $R, $body, 1 2 3 4 5 6 16)
    };
    (@ $L:ident, $total:expr, $at:ident, $R:ident, $body:expr, $($rows:literal)*) => {{
        let total = $total;
        let mut $at = 0;
        while $at < total {
            let rows = crate::microkernel::rows_at_once::<$L>(total - $at);
            match rows {
                $($rows => { const $R: usize = $rows; $body })*
                _ => unreachable!("rows_at_once returns one of these"),
            }
            $at += rows;
        }
    }};
}

pub(crate) use by_rows;
