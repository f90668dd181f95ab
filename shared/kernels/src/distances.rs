//! L2 and Linf distances between 8-bit images.

use crate::multiversion::multiversion;

multiversion! {
    /// L2 and Linf distance of two 8-bit images, in `[0,1]` units. Sums are of integers, so they
    /// are exact on every machine.
    pub fn distances(a: &[u8], b: &[u8]) -> (f64, f64) {
        // Narrow integer types, so that the compiler vectorizes.
        let pairs = || std::iter::zip(a, b);
        let difference = |(&a, &b): (&u8, &u8)| i32::from(i16::from(a) - i16::from(b));
        let square: i32 = pairs().map(difference).map(|d| d * d).sum();
        let largest = pairs().map(|(a, b)| a.abs_diff(*b)).fold(0, u8::max);
        (f64::from(square).sqrt() / 255.0, f64::from(largest) / 255.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIXELS: usize = 3 * 32 * 32;

    #[test]
    fn distances_are_in_units_of_the_pixels_range() {
        assert_eq!(
            distances(&[0, 10, 255], &[0, 13, 251]),
            (5.0 / 255.0, 4.0 / 255.0)
        );
        let (l2, linf) = distances(&[0; PIXELS], &[255; PIXELS]);
        assert!((l2 - (PIXELS as f64).sqrt()).abs() < 1e-12 && linf == 1.0);
    }
}
