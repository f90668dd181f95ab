//! Fixed policy: constant probabilities, equal as far as the bounds allow.

use base::random::Stream;

use super::{Bounds, Policy};

/// Equal parts, projected into the bounds.
pub struct Fixed;

impl Policy for Fixed {
    fn redraw(&self, _: &[f64], _: Option<&[f64]>, bounds: &Bounds, _: &mut Stream) -> Vec<f64> {
        bounds.project(&vec![1.0 / bounds.count() as f64; bounds.count()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_probabilities_are_equal_where_the_bounds_allow() {
        let attacks = ["a", "b", "c"].map(String::from);
        let mut stream = Stream::new(1, "fixed", &[]);
        let mut redraw = |text: &str| {
            let bounds = Bounds::parse(text, &attacks).unwrap();
            Fixed.redraw(&[1.0, 0.0, 0.0], None, &bounds, &mut stream)
        };
        for (text, expected) in [("", [1.0 / 3.0; 3]), ("b=0.5..1", [0.25, 0.5, 0.25])] {
            for (found, expected) in redraw(text).iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{text}: {found} {expected}"
                );
            }
        }
    }
}
