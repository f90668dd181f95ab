//! Random slices and comparisons.

use kernels::random::Stream;

/// `len` standard normal numbers.
pub fn normal(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, "kernels", &[]);
    (0..len).map(|_| stream.normal() as f32).collect()
}

/// Asserts that all elements are within `tolerance` of `expected`, relative to its largest one.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths");
    let largest = expected.iter().fold(1.0, |a: f64, b| a.max(b.abs()));
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*actual) - expected).abs() / largest;
        assert!(
            error < tolerance,
            "{what}[{i}]: {actual}, expected {expected}"
        );
    }
}
