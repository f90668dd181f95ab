//! Losses of untargeted and targeted attacks, of one image's logits: values to be increased, with their
//! gradients in the logits.

use attacks::logits;

/// Keeps the DLR losses finite where the largest logits are equal, as in AutoAttack's code.
const TINY: f32 = 1e-12;

/// A loss that an attack increases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Cross entropy of the label.
    CrossEntropy,
    /// The largest other logit minus the label's (the margin loss of Carlini and Wagner, 2017).
    Margin,
    /// Difference of logits ratio (Croce & Hein 2020, equation 6); three classes at least.
    Dlr,
    /// Targeted difference of logits ratio (Croce & Hein 2020, equation 7); four classes at least.
    TargetedDlr,
}

impl Loss {
    /// The classes that it needs at least.
    pub const fn min_classes(self) -> usize {
        match self {
            Self::CrossEntropy | Self::Margin => 2,
            Self::Dlr => 3,
            Self::TargetedDlr => 4,
        }
    }

    /// The loss of one image's logits; its gradient is added to `grad`. `target` is the class that a
    /// targeted loss moves to.
    pub fn value(self, logits: &[f32], label: u8, target: usize, grad: &mut [f32]) -> f32 {
        let y = usize::from(label);
        match self {
            Self::CrossEntropy => cross_entropy(logits, y, grad),
            Self::Margin => {
                let other = logits::runner_up(logits, label);
                grad[other] += 1.0;
                grad[y] -= 1.0;
                logits[other] - logits[y]
            }
            Self::Dlr => {
                let order = descending(logits);
                let other = if order[0] == y { order[1] } else { order[0] };
                let scale = [(order[0], 1.0), (order[2], -1.0)];
                ratio(logits, (y, other), &scale, grad)
            }
            Self::TargetedDlr => {
                let order = descending(logits);
                let scale = [(order[0], 1.0), (order[2], -0.5), (order[3], -0.5)];
                ratio(logits, (y, target), &scale, grad)
            }
        }
    }
}

/// `log sum exp - z_y`; the gradient is softmax minus one-hot.
fn cross_entropy(logits: &[f32], y: usize, grad: &mut [f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f32> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f32 = exp.iter().sum();
    let mut others = 0.0;
    for (class, exp) in exp.iter().enumerate().filter(|(class, _)| *class != y) {
        grad[class] += exp / sum;
        others += exp / sum;
    }
    // As minus the sum of the others: 1 - p loses everything as p nears 1.
    grad[y] -= others;
    sum.ln() - (logits[y] - largest)
}

/// `-(z_y - z_other) / (sum of scale + TINY)`.
fn ratio(
    logits: &[f32],
    (y, other): (usize, usize),
    scale: &[(usize, f32)],
    grad: &mut [f32],
) -> f32 {
    let divisor = scale
        .iter()
        .map(|&(class, part)| part * logits[class])
        .sum::<f32>()
        + TINY;
    let value = -(logits[y] - logits[other]) / divisor;
    grad[y] -= 1.0 / divisor;
    grad[other] += 1.0 / divisor;
    for &(class, part) in scale {
        grad[class] -= part * value / divisor;
    }
    value
}

/// The classes by falling logit; of equal logits the first comes first.
pub fn descending(logits: &[f32]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [0.3, 2.0, -1.0, 1.25, 0.75];

    #[test]
    fn losses_are_those_of_their_definitions() {
        let value = |loss: Loss, label| loss.value(&LOGITS, label, 4, &mut [0.0; 5]);
        // ln(e^.3 + e^2 + e^-1 + e^1.25 + e^.75) = 2.68881
        assert!((value(Loss::CrossEntropy, 1) - 0.688_81).abs() < 1e-4);
        assert_eq!(value(Loss::Margin, 1), -0.75);
        assert_eq!(value(Loss::Dlr, 1), -0.75 / 1.25);
        assert_eq!(value(Loss::Dlr, 0), 1.7 / 1.25);
        assert_eq!(value(Loss::TargetedDlr, 1), -1.25 / (2.0 - 0.5 * 1.05));
    }

    #[test]
    fn gradients_of_losses_are_those_of_finite_differences() {
        for loss in [
            Loss::CrossEntropy,
            Loss::Margin,
            Loss::Dlr,
            Loss::TargetedDlr,
        ] {
            for label in 0..4u8 {
                let mut grad = [0.0; 5];
                loss.value(&LOGITS, label, 4, &mut grad);
                for class in 0..5 {
                    let at = |shift: f32| {
                        let mut logits = LOGITS;
                        logits[class] += shift;
                        f64::from(loss.value(&logits, label, 4, &mut [0.0; 5]))
                    };
                    let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
                    let error = (numeric - f64::from(grad[class])).abs();
                    assert!(
                        error < 2e-3,
                        "{loss:?} of label {label}, class {class}: {error}"
                    );
                }
            }
        }
    }
}
