//! Wilson score interval of a share (Wilson, "Probable inference, the law of succession, and statistical
//! inference", 1927).

/// The quantile of the normal distribution for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % interval of `count` of `total`, as fractions; `[0, 1]` without any.
pub fn wilson(count: usize, total: usize) -> [f64; 2] {
    if total == 0 {
        return [0.0, 1.0];
    }
    let (n, share) = (total as f64, count as f64 / total as f64);
    let center = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Rounding must not put the share itself outside.
    [
        (center - half).clamp(0.0, share),
        (center + half).clamp(share, 1.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wilson_interval_is_that_of_statsmodels() {
        // statsmodels: proportion_confint(count, total, method="wilson")
        for (count, total, low, high) in [
            (500, 1000, 0.469_069_7, 0.530_930_3),
            (0, 100, 0.0, 0.036_993_5),
            (9, 10, 0.595_850_0, 0.982_123_8),
        ] {
            let [a, b] = wilson(count, total);
            assert!((a - low).abs() < 1e-4 && (b - high).abs() < 1e-4, "{a} {b}");
        }
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
    }
}
