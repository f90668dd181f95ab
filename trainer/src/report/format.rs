//! Number formatting of the page.

/// A fraction in percent with one decimal, without the sign: `0.8464` is `84.6`.
pub fn percent(part: f64) -> String {
    format!("{:.1}", 100.0 * part)
}

/// At most four significant digits, no trailing zeros; scientific notation for very small and very large numbers.
pub fn short(number: f64) -> String {
    let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    match rounded.abs() {
        0.0 => "0".into(),
        1e-4..1e6 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_four_significant_digits() {
        let numbers = [0.0, 0.1 + 0.2, 1234.56, 0.00001, 2.5e9, f64::NAN].map(short);
        assert_eq!(numbers, ["0", "0.3", "1235", "1e-5", "2.5e9", "NaN"]);
        assert_eq!(percent(0.84649), "84.6");
    }
}
