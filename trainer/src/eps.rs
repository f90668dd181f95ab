//! Perturbation budgets as they are written on the command line: `8/255`, `0.5`, or several.

use std::{fmt, str::FromStr};

use robustness::Norm;
use serde::{Deserialize, Serialize};

/// A budget: its text, and its value in `[0,1]` units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Eps {
    text: String,
    value: f64,
}

impl Eps {
    /// So many of the 255 levels of a pixel, at least 1.
    pub fn levels(levels: u8) -> Self {
        Self {
            text: format!("{levels}/255"),
            value: f64::from(levels) / 255.0,
        }
    }

    /// A number above 0.
    pub fn number(value: f64) -> Self {
        let text = value.to_string();
        Self { text, value }
    }

    /// The value, above 0.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl fmt::Display for Eps {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Eps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let value = match text.split_once('/') {
            None => number(text),
            Some((above, below)) => number(above).zip(number(below)).map(|(a, b)| a / b),
        };
        // A division by 0 is infinite or not a number.
        match value.filter(|value| value.is_finite() && *value > 0.0) {
            Some(value) => Ok(Self {
                text: text.to_string(),
                value,
            }),
            None => Err(format!(
                "'{text}' is no budget: a number above 0, such as 8/255 or 0.5, is expected"
            )),
        }
    }
}

impl TryFrom<String> for Eps {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Eps> for String {
    fn from(eps: Eps) -> Self {
        eps.text
    }
}

/// One budget or several, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub struct Budgets(pub Vec<Eps>);

impl Budgets {
    /// The usual budget on CIFAR-10: 8/255 in Linf, 0.5 in L2.
    ///
    /// # Errors
    /// None: both texts are budgets.
    pub fn usual(norm: Norm) -> Result<Self, String> {
        match norm {
            Norm::Linf => "8/255".parse(),
            Norm::L2 => "0.5".parse(),
        }
    }
}

impl FromStr for Budgets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let budgets: Vec<Eps> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        for (position, eps) in budgets.iter().enumerate() {
            if budgets[..position]
                .iter()
                .any(|other| other.value == eps.value)
            {
                return Err(format!("the budget {eps} is given twice"));
            }
        }
        Ok(Self(budgets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_fractions_or_numbers_above_zero() {
        let budgets: Budgets = "8/255, 0.5".parse().unwrap();
        let values: Vec<f64> = budgets.0.iter().map(Eps::value).collect();
        assert_eq!(values, [8.0 / 255.0, 0.5]);
        assert_eq!(budgets.0[0].to_string(), "8/255");
        for norm in [Norm::Linf, Norm::L2] {
            assert_eq!(Budgets::usual(norm).unwrap().0.len(), 1);
        }
        for wrong in [
            "0", "-1/255", "8/0", "0/255", "", "8/255,", "eight", "nan", "1/2/3", "inf",
        ] {
            let error = wrong.parse::<Budgets>().unwrap_err();
            assert!(error.contains("is expected"), "{error}");
        }
        assert!("0.5,1/2".parse::<Budgets>().unwrap_err().contains("twice"));
    }
}
