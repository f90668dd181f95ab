//! Checks of parameters: a value and its range come in, the reason why it is refused goes out.

use std::ops::RangeInclusive;

/// Why a parameter is refused.
#[derive(Debug, PartialEq)]
pub struct Invalid {
    /// The parameter's name.
    pub parameter: &'static str,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// A refused parameter, or nothing.
pub type Check = Result<(), Invalid>;

/// `value` is finite and in `range`.
pub fn number(parameter: &'static str, value: f64, range: RangeInclusive<f64>) -> Check {
    // A NaN is in no range, an infinity in none that ends.
    if range.contains(&value) {
        return Ok(());
    }
    Err(Invalid {
        parameter,
        found: value.to_string(),
        expected: format!("a number from {} to {}", range.start(), range.end()),
    })
}

/// `value` is from 1 to 100,000.
pub fn steps(value: u32) -> Check {
    if (1..=100_000).contains(&value) {
        return Ok(());
    }
    Err(Invalid {
        parameter: "steps",
        found: value.to_string(),
        expected: "a whole number from 1 to 100000".into(),
    })
}

/// Every divisor of the three channels is from 0.001 to 1000.
pub fn channel_scale(scale: &[f64; 3]) -> Check {
    scale
        .iter()
        .try_for_each(|&divisor| number("channel_scale", divisor, 1e-3..=1e3))
}
