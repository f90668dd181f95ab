//! Chart axis: a range with round ticks around given values.

/// Unit of an axis.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// Parts of 1, labeled in percent.
    Percent,
    /// Plain numbers.
    Number,
}

/// A range whose ends are ticks.
pub struct Axis {
    low: f64,
    step: f64,
    steps: u32,
    unit: Unit,
}

/// Largest magnitude a chart shows: larger values would overflow the arithmetic below.
const MAX_DRAWABLE: f64 = 1e100;

/// Whether a chart can show the value.
pub fn drawable(value: f64) -> bool {
    value.abs() <= MAX_DRAWABLE
}

impl Axis {
    /// An axis for the drawable ones of these values, with about five steps; 0 to 1 where there
    /// are none. It starts at 0 where that costs no more than a third of its length.
    pub fn around(values: impl Iterator<Item = f64>, unit: Unit) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&value| drawable(value)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && low < high / 3.0 {
            low = 0.0;
        }
        // A constant, or nearly: a margin on both sides, wide enough not to vanish in rounding.
        if high - low <= (high.abs().max(low.abs()) * 1e-9).max(1e-60) {
            let margin = if high.abs() < 1e-50 {
                1.0
            } else {
                high.abs() * 0.1
            };
            (low, high) = (low - margin, high + margin);
        }
        if unit == Unit::Percent {
            low = low.clamp(0.0, 1.0);
            high = high.clamp(low + 1e-3, 1.0 + 1e-3);
        }
        let step = round_step((high - low) / 5.0);
        let low = (low / step).floor() * step;
        let steps = ((high - low) / step - 1e-9).ceil().clamp(1.0, 20.0) as u32;
        Self {
            low,
            step,
            steps,
            unit,
        }
    }

    /// Position of the value: 0 at the low end, 1 at the high end.
    pub fn position(&self, value: f64) -> f64 {
        (value - self.low) / (self.step * f64::from(self.steps))
    }

    /// Ticks as (position, label).
    pub fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (0..=self.steps).map(|i| {
            let value = self.low + self.step * f64::from(i);
            (f64::from(i) / f64::from(self.steps), self.label(value))
        })
    }

    fn label(&self, value: f64) -> String {
        let (value, step) = match self.unit {
            Unit::Percent => (100.0 * value, 100.0 * self.step),
            Unit::Number => (value, self.step),
        };
        if !(1e-5..1e6).contains(&step) {
            return format!("{value:.1e}");
        }
        let decimals = (-(step * 1.000_001).log10().floor()).max(0.0) as usize;
        // Adding zero turns -0 into 0.
        format!("{:.decimals$}", value + 0.0)
    }
}

/// The next of 1, 2, 5, 10, 20, 50, … that is no smaller than `least`, at any power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Round epochs of `first..=last` for ticks, at most about six.
pub fn epoch_ticks(first: f64, last: f64) -> Vec<f64> {
    let step = round_step(((last - first) / 5.0).max(1.0)).max(1.0);
    let start = (first / step).ceil();
    (0..12)
        .map(|i| (start + f64::from(i)) * step)
        .take_while(|epoch| *epoch <= last)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], unit: Unit) -> Vec<String> {
        let axis = Axis::around(values.iter().copied(), unit);
        axis.ticks().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(
            labels(&[0.1, 2.3], Unit::Number),
            ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]
        );
        assert_eq!(
            labels(&[0.81, 0.9], Unit::Percent),
            ["80", "82", "84", "86", "88", "90"]
        );
        assert_eq!(
            labels(&[], Unit::Percent),
            ["0", "20", "40", "60", "80", "100"]
        );
        assert_eq!(epoch_ticks(1.0, 150.0), [50.0, 100.0, 150.0]);
        assert_eq!(epoch_ticks(1.0, 3.0), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn any_values_have_finite_positions_within_the_axis() {
        let cases: [&[f64]; 8] = [
            &[0.0],
            &[1.0, 1.0],
            &[-3.0],
            &[1e-310, 2e-300],
            &[1e100, -1e100],
            &[f64::NAN, f64::INFINITY, 1e300],
            &[1.0, 1.0 + 1e-15],
            &[5.0, 7.0],
        ];
        for values in cases {
            for unit in [Unit::Number, Unit::Percent] {
                let axis = Axis::around(values.iter().copied(), unit);
                let positions: Vec<f64> = axis.ticks().map(|(position, _)| position).collect();
                assert!(positions.len() > 1 && positions.iter().all(|p| (0.0..=1.0).contains(p)));
                for value in values.iter().filter(|v| drawable(**v)) {
                    let position = axis.position(*value);
                    assert!(position.is_finite(), "{values:?}");
                    let within = (-1e-6..=1.0 + 1e-6).contains(&position);
                    assert!(within || unit == Unit::Percent, "{values:?}: {position}");
                }
            }
        }
    }
}
