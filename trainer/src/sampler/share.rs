//! Adversarial share of the draws: a number or a range, parsed from text.

use std::{fmt, str::FromStr};

use base::random::Stream;
use serde::{Deserialize, Serialize};

/// Which part of the draws is adversarial: a number in `[0,1]`, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share {
    low: f64,
    high: f64,
}

impl Share {
    /// The range from `low` to `high`; one number when they are equal.
    ///
    /// # Errors
    /// The reason, unless 0 <= `low` <= `high` <= 1.
    pub fn new(low: f64, high: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&low) && (low..=1.0).contains(&high) {
            Ok(Self { low, high })
        } else {
            Err(format!("{low}..{high} is not a range within 0..1"))
        }
    }

    /// A share drawn uniformly from the range.
    pub fn draw(&self, stream: &mut Stream) -> f64 {
        stream
            .between(self.low, self.high)
            .clamp(self.low, self.high)
    }

    /// The middle of the range.
    pub fn middle(&self) -> f64 {
        (self.low + self.high) / 2.0
    }

    /// Whether `share` is in the range.
    pub fn contains(&self, share: f64) -> bool {
        (self.low..=self.high).contains(&share)
    }
}

impl Default for Share {
    /// The paper's.
    fn default() -> Self {
        Self {
            low: 0.5,
            high: 0.5,
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let number = |part: &str| part.trim().parse::<f64>();
        match (number(low), number(high)) {
            (Ok(low), Ok(high)) => Self::new(low, high),
            _ => Err(format!(
                "'{text}' is neither a number nor a range like 0.25..0.75"
            )),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}..{}", self.low, self.high)
        }
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_parse_back_from_their_display() {
        for text in ["0", "0.5", "1", "0.25..0.75"] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.to_string(), text);
            let json = serde_json::to_string(&share).unwrap();
            assert_eq!(serde_json::from_str::<Share>(&json).unwrap(), share);
        }
        assert_eq!("0.5..0.5".parse::<Share>(), "0.5".parse());
        for text in [
            "", "x", "1.5", "-0.1", "0.7..0.2", "0.5..", "nan", "0..1..1",
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_drawn_uniformly_and_a_number_is_itself() {
        let mut stream = Stream::new(1, "share", &[]);
        assert_eq!(Share::new(0.3, 0.3).unwrap().draw(&mut stream), 0.3);
        let share = Share::new(0.25, 0.75).unwrap();
        let mut mean = 0.0;
        for _ in 0..10_000 {
            let drawn = share.draw(&mut stream);
            assert!(share.contains(drawn));
            mean += drawn / 10_000.0;
        }
        assert!((mean - 0.5).abs() < 0.006, "{mean}");
    }
}
