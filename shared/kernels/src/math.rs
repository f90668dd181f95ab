//! Elementary functions that the compiler can vectorize, unlike the standard library's.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// 1 / sqrt(2 pi), the standard normal density at 0.
pub const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;

/// e^x, within 2 ulp; 0 below -87, capped above 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it rounds to an integer, which then is in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first with few bits, for an exact product (Cody and Waite).
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = if x > 88.0 { 88.0 } else { x };
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = clamped * LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = clamped - whole * LN2.0 - whole * LN2.1;
    // Taylor series up to the seventh power; `rest` is within ±0.35.
    let mut series = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * rest + factor;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { series * power }
}

/// Standard normal distribution function, within 2e-7, and density relative to its peak (Abramowitz
/// and Stegun, "Handbook of Mathematical Functions", 1964, 7.1.26).
#[inline(always)]
pub fn normal_cdf(x: f32) -> (f32, f32) {
    const COEFFICIENTS: [f32; 5] = [
        1.061_405_4,
        -1.453_152,
        1.421_413_7,
        -0.284_496_74,
        0.254_829_6,
    ];
    let density = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * FRAC_1_SQRT_2 * x.abs());
    let mut series = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        series = series * t + coefficient;
    }
    let tail = 0.5 * t * series * density;
    (if x < 0.0 { tail } else { 1.0 - tail }, density)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_exponential() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) / expected - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_function_has_its_known_values() {
        // scipy.stats.norm.cdf
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_8),
            (-1.0, 0.158_655_3),
            (2.5, 0.993_790_3),
            (-3.0, 0.001_349_898),
            (-0.1, 0.460_172_2),
        ] {
            let (below, _) = normal_cdf(x);
            assert!((below - expected).abs() < 2e-7, "{x}: {below}");
        }
    }
}
