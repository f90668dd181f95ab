//! Bounds on each attack's part of the adversarial draws, parsed from `fgsm=0.05..0.3,cw=0.1..0.5`. Infeasible
//! bounds are refused with the arithmetic that shows why.

use base::{Error, Result};

use super::projection;

/// Rounding allowed in sums of probabilities.
pub const TOLERANCE: f64 = 1e-9;

/// Lower and upper bound of each attack's part of the adversarial draws, in the store's order. At least one
/// mixture (sum 1) lies within.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    names: Vec<String>,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Bounds {
    /// Reads `NAME=LO..HI,…` (`NAME=P` for exactly P; spaces allowed; empty for no bounds)
    /// against the store's attacks. An attack that is not named has the bounds 0..1.
    ///
    /// # Errors
    /// [`Error::Usage`] for no attacks at all, an unknown or repeated name, a range not within 0..1, and
    /// infeasible bounds.
    pub fn parse(text: &str, attacks: &[String]) -> Result<Self> {
        let mut ranges: Vec<Option<(f64, f64)>> = vec![None; attacks.len()];
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (name, range) = item
                .split_once('=')
                .ok_or_else(|| refuse(format!("'{item}' is not NAME=LO..HI")))?;
            let index = attacks
                .iter()
                .position(|attack| attack == name.trim())
                .ok_or_else(|| {
                    let there = attacks.join(", ");
                    refuse(format!("no attack '{}' among {there}", name.trim()))
                })?;
            if ranges[index].is_some() {
                return Err(refuse(format!("{} is bounded twice", name.trim())));
            }
            ranges[index] = Some(parse_range(item, range)?);
        }
        let (low, high) = ranges.into_iter().map(|r| r.unwrap_or((0.0, 1.0))).unzip();
        let bounds = Self {
            names: attacks.to_vec(),
            low,
            high,
        };
        bounds.check()?;
        Ok(bounds)
    }

    /// The attacks' names, in the store's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many attacks there are, at least 1.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Lower bounds.
    pub fn low(&self) -> &[f64] {
        &self.low
    }

    /// Upper bounds.
    pub fn high(&self) -> &[f64] {
        &self.high
    }

    /// Euclidean projection of `weights` onto the mixtures within the bounds.
    pub fn project(&self, weights: &[f64]) -> Vec<f64> {
        projection::project(weights, &self.low, &self.high)
    }

    /// Whether `probabilities` are a mixture within the bounds.
    pub fn contain(&self, probabilities: &[f64]) -> bool {
        let within = |((p, low), high)| (low..=high).contains(&p);
        probabilities.len() == self.count()
            && (probabilities.iter().sum::<f64>() - 1.0).abs() <= TOLERANCE
            && probabilities
                .iter()
                .zip(&self.low)
                .zip(&self.high)
                .all(within)
    }

    fn check(&self) -> Result<()> {
        if self.names.is_empty() {
            return Err(refuse("there is no attack to draw from".into()));
        }
        if self.low.iter().sum::<f64>() > 1.0 + TOLERANCE {
            let some = (0..self.count()).filter(|&i| self.low[i] > 0.0);
            let sum = self.sum(&self.low, some);
            return Err(refuse(format!(
                "the lower bounds sum to more than 1: {sum} > 1"
            )));
        }
        if self.high.iter().sum::<f64>() < 1.0 - TOLERANCE {
            let sum = self.sum(&self.high, 0..self.count());
            return Err(refuse(format!(
                "the upper bounds sum to less than 1: {sum} < 1"
            )));
        }
        Ok(())
    }

    /// `gaussian + fgsm + cw = 0.3 + 0.4 + 0.5 = 1.2`.
    fn sum(&self, parts: &[f64], which: impl Iterator<Item = usize> + Clone) -> String {
        let names: Vec<&str> = which.clone().map(|i| self.names[i].as_str()).collect();
        let terms: Vec<String> = which.clone().map(|i| parts[i].to_string()).collect();
        // Rounded as the terms are written: 0.1 + 0.2 is 0.3.
        let total = which.map(|i| parts[i]).sum::<f64>();
        let total = (total * 1e12).round() / 1e12;
        if let [name] = names[..] {
            format!("{name} = {total}")
        } else {
            format!("{} = {} = {total}", names.join(" + "), terms.join(" + "))
        }
    }
}

fn parse_range(item: &str, range: &str) -> Result<(f64, f64)> {
    let (low, high) = range.split_once("..").unwrap_or((range, range));
    let (Ok(low), Ok(high)) = (low.trim().parse::<f64>(), high.trim().parse::<f64>()) else {
        return Err(refuse(format!("'{item}' is not NAME=LO..HI")));
    };
    if (0.0..=1.0).contains(&low) && (low..=1.0).contains(&high) {
        // The sum turns -0 into 0.
        Ok((low + 0.0, high + 0.0))
    } else {
        Err(refuse(format!("'{item}' is not a range within 0..1")))
    }
}

fn refuse(reason: String) -> Error {
    Error::Usage(format!("--bounds: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Bounds> {
        Bounds::parse(text, &["gaussian", "fgsm", "cw"].map(String::from))
    }

    #[test]
    fn bounds_are_parsed_in_the_stores_order() {
        let bounds = parse(" cw = 0.1..0.5, fgsm=0.25").unwrap();
        assert_eq!(bounds.low(), [0.0, 0.25, 0.1]);
        assert_eq!(bounds.high(), [1.0, 0.25, 0.5]);
        assert_eq!(parse("").unwrap().high(), [1.0; 3]);
    }

    #[test]
    fn infeasible_bounds_are_refused_with_the_arithmetic() {
        let refused = |text: &str| {
            let error = parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        let message = refused("gaussian=0.3..1,fgsm=0.4..1,cw=0.5..0.6");
        let sum = "gaussian + fgsm + cw = 0.3 + 0.4 + 0.5 = 1.2 > 1";
        assert!(message.ends_with(sum), "{message}");
        let message = refused("gaussian=0..0.1,fgsm=0..0.2,cw=0.3");
        let sum = "gaussian + fgsm + cw = 0.1 + 0.2 + 0.3 = 0.6 < 1";
        assert!(message.ends_with(sum), "{message}");
    }

    #[test]
    fn bounds_that_sum_to_one_exactly_are_feasible_despite_rounding() {
        let tenths = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(String::from);
        let text = tenths.clone().map(|name| format!("{name}=0.1")).join(",");
        let bounds = Bounds::parse(&text, &tenths).unwrap();
        assert!(bounds.contain(&bounds.project(&[0.0; 10])));
    }

    #[test]
    fn invalid_bounds_are_refused() {
        for text in [
            "nst=0.1..0.2",
            "cw=0..1,cw=0..1",
            "cw=0.5..0.2",
            "cw=0..1.5",
            "cw=-0.1..1",
            "cw=nan..1",
            "cw",
            "cw=",
            "cw=a..b",
        ] {
            assert_eq!(parse(text).unwrap_err().exit_code(), 2, "{text}");
        }
        assert_eq!(Bounds::parse("", &[]).unwrap_err().exit_code(), 2);
    }
}
