//! Schedule of Square: the side of the window that a query changes, which shrinks by the number of the query.

use data::IMAGE_SIDE;

use crate::Norm;

/// The part of the image that the first windows cover.
const FIRST_PART: f64 = 0.8;
/// Each of these queries is the last before the part halves.
const HALVINGS: [u32; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// The side of the window of this query, counted from 0; in L2 odd and at least 3. The schedule is the same for any
/// number of queries.
pub fn side(norm: Norm, query: u32) -> usize {
    let halvings = HALVINGS.iter().filter(|&&last| query > last).count();
    let part = FIRST_PART / f64::from(1u32 << halvings);
    let side = (part.sqrt() * IMAGE_SIDE as f64).round() as usize;
    match norm {
        Norm::Linf => side.clamp(1, IMAGE_SIDE),
        Norm::L2 => (side.max(3) | 1).min(IMAGE_SIDE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_as_in_the_reference_implementation() {
        let first = [0, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001];
        let sides = |norm| first.map(|query| side(norm, query));
        assert_eq!(sides(Norm::Linf), [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]);
        assert_eq!(sides(Norm::L2), [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]);
        assert_eq!((side(Norm::Linf, 10), side(Norm::Linf, 8000)), (29, 2));
    }
}
