//! Range checks of attack parameters.

use std::ops::RangeInclusive;

/// A parameter that is out of range.
#[derive(Debug, PartialEq)]
pub struct OutOfRange {
    /// The parameter's name.
    pub parameter: &'static str,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// Nothing, or the first parameter that is out of range.
pub type RangeCheck = Result<(), OutOfRange>;

/// `value` is finite and in `range`.
pub fn in_range(parameter: &'static str, value: f64, range: RangeInclusive<f64>) -> RangeCheck {
    // A NaN is in no range, an infinity in none that ends.
    if range.contains(&value) {
        return Ok(());
    }
    Err(OutOfRange {
        parameter,
        found: value.to_string(),
        expected: format!("a number from {} to {}", range.start(), range.end()),
    })
}

/// The number of steps is from 1 to 100,000.
pub fn steps_in_range(value: u32) -> RangeCheck {
    if (1..=100_000).contains(&value) {
        return Ok(());
    }
    Err(OutOfRange {
        parameter: "steps",
        found: value.to_string(),
        expected: "a whole number from 1 to 100000".into(),
    })
}

/// Every divisor of the three channels is from 0.001 to 1000.
pub fn channel_scale_in_range(scale: &[f64; 3]) -> RangeCheck {
    scale
        .iter()
        .try_for_each(|&divisor| in_range("channel_scale", divisor, 1e-3..=1e3))
}
