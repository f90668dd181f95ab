//! Value parsers of command-line options, and the refusal of options without a meaning.

use std::str::FromStr;

use base::{Error, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// The names of an enum's variants, listed by `--help`.
pub fn choice<T>() -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync>
        + strum::VariantNames
        + Clone
        + Send
        + Sync
        + 'static,
{
    PossibleValuesParser::new(T::VARIANTS).try_map(|name| name.parse())
}

/// Result of a clap value parser.
pub type Parsed<T> = std::result::Result<T, String>;

/// A whole number, at least 1.
pub fn positive(text: &str) -> Parsed<usize> {
    let number = text.parse().map_err(|_| "not a whole number")?;
    if number == 0 {
        return Err("at least 1".into());
    }
    Ok(number)
}

/// Refuses the first given option; all of them have a meaning only with `wanted`.
///
/// # Errors
/// [`Error::Usage`] naming the option.
pub fn refuse_given(options: &[(&str, bool)], wanted: &str) -> Result<()> {
    match options.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => Err(Error::Usage(format!(
            "{option}: it has no meaning without {wanted}; leave it out, or add {wanted}"
        ))),
    }
}

/// A finite number, at least 0.
pub fn not_negative(text: &str) -> Parsed<f64> {
    let number: f64 = text.parse().map_err(|_| "not a number")?;
    if !number.is_finite() || number < 0.0 {
        return Err("a finite number, 0 or more".into());
    }
    Ok(number)
}

/// A number from 0 to 1.
pub fn part(text: &str) -> Parsed<f64> {
    let number = not_negative(text)?;
    if number > 1.0 {
        return Err("a number from 0 to 1".into());
    }
    Ok(number)
}
