//! Objectives of adaptive attacks on a classifier with a detector: joint loss, selective and orthogonal
//! gradients, feature matching; and the classifier alone, for comparison.

use base::Result;
use data::IMAGE_BYTES;
use rayon::prelude::*;

use super::defense::{Defense, WithGradient};
use crate::{
    loss::Loss,
    objective::{Evaluated, Objective, Verdict},
    target::Gradient,
};

/// The margin beyond which a joint loss no longer rewards misclassification (Tramèr, Carlini, Brendel,
/// Madry, "On adaptive attacks to adversarial example defenses", 2020: without a bound the classifier's
/// term dominates).
const ENOUGH_MARGIN: f32 = 0.5;
/// How far below the threshold a joint loss pushes the score.
const SCORE_MARGIN: f32 = 0.1;
/// Misclassification counts for the selective attacks once the label's logit is this far behind
/// (Bryniarski, Hingun, Pachuca, Wang, Carlini, "Evading adversarial example detection defenses with
/// orthogonal projected gradient descent", 2021).
const SELECTIVE_MARGIN: f32 = 0.05;

/// What an adaptive attack increases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The margin of the classifier alone; the detector only judges.
    ClassifierOnly,
    /// The bounded margin minus this weight times the score's excess over the threshold.
    Joint {
        /// Weight of the detector's term, relative to equal lengths of both gradients at its start.
        weight: f32,
    },
    /// The margin until the image is misclassified, then minus the score.
    Selective,
    /// The same, each gradient without its projection on the other.
    Orthogonal,
    /// The bounded margin, and feature maps like those of a clean image of another class.
    FeatureMatching,
}

/// Combines two gradients of the image in row i: arguments are i, the first (overwritten by the result), the second.
type Mix<'a> = dyn Fn(usize, &mut [f32], &[f32]) + Sync + 'a;

/// A goal on a defense.
pub struct AdaptiveObjective<'a> {
    /// The defense.
    pub defense: &'a Defense<'a>,
    /// The goal.
    pub goal: Goal,
    /// For each image of the batch a clean image of another class (`3072` numbers), for feature matching.
    pub guides: &'a [f32],
}

impl Objective for AdaptiveObjective<'_> {
    fn evaluate(&self, rows: &[usize], pixels: &[f32]) -> Result<Evaluated> {
        let defense = self.defense;
        let (ids, labels) = defense.gather(rows);
        let mut margins = vec![0.0; rows.len()];
        let classifier = defense
            .target
            .gradient(pixels, &ids, &labels, |i, logits, grad| {
                margins[i] = Loss::Margin.value(logits, labels[i], 0, grad);
            })?;
        let detector = match self.goal {
            Goal::ClassifierOnly => WithGradient {
                values: defense.scores(&ids, pixels)?,
                gradient: Vec::new(),
            },
            _ => defense.score_gradient(rows, pixels)?,
        };
        let verdicts = defense.verdicts(&classifier.logits, &labels, &detector.values);
        let (losses, gradient) = self.combine(rows, pixels, &margins, classifier, detector)?;
        Ok(Evaluated {
            losses,
            gradient,
            verdicts,
        })
    }

    fn is_success(&self, verdict: Verdict) -> bool {
        self.defense.is_fooled(verdict)
    }
}

impl AdaptiveObjective<'_> {
    /// Losses and their gradients of the goal.
    fn combine(
        &self,
        rows: &[usize],
        pixels: &[f32],
        margins: &[f32],
        classifier: Gradient,
        detector: WithGradient,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (threshold, goal) = (self.defense.threshold, self.goal);
        let excess: Vec<f32> = detector
            .values
            .iter()
            .map(|score| (score - threshold + SCORE_MARGIN).max(0.0))
            .collect();
        let bounded = |margin: f32| margin.min(ENOUGH_MARGIN);
        let of_images = |mix: &Mix, other: &[f32]| {
            let mut gradient = classifier.pixels.clone();
            gradient
                .par_chunks_exact_mut(IMAGE_BYTES)
                .zip(other.par_chunks_exact(IMAGE_BYTES))
                .enumerate()
                .for_each(|(i, (of_margin, other))| mix(i, of_margin, other));
            gradient
        };
        let below_bound = |i: usize| f32::from(u8::from(margins[i] < ENOUGH_MARGIN));
        Ok(match goal {
            Goal::ClassifierOnly => (margins.to_vec(), classifier.pixels),
            Goal::Joint { weight } => {
                let mix = |i: usize, of_margin: &mut [f32], of_score: &[f32]| {
                    let above = f32::from(u8::from(excess[i] > 0.0));
                    // Gradients of one length, so that a weight means the same for all detectors.
                    let scale =
                        weight * length(of_margin) / length(of_score).max(f32::MIN_POSITIVE);
                    let (a, b) = (below_bound(i), above * scale.min(f32::MAX));
                    for (g, s) in of_margin.iter_mut().zip(of_score) {
                        *g = a * *g - b * s;
                    }
                };
                let losses = margins.iter().zip(&excess);
                let losses = losses.map(|(&margin, excess)| bounded(margin) - weight * excess);
                (losses.collect(), of_images(&mix, &detector.gradient))
            }
            Goal::Selective | Goal::Orthogonal => {
                let mix = |i: usize, of_margin: &mut [f32], of_score: &[f32]| {
                    let (mut wanted, mut kept) = (of_margin.to_vec(), of_score.to_vec());
                    if margins[i] > SELECTIVE_MARGIN {
                        std::mem::swap(&mut wanted, &mut kept);
                        wanted.iter_mut().for_each(|g| *g = -*g);
                    }
                    if goal == Goal::Orthogonal {
                        remove_projection(&mut wanted, &kept);
                    }
                    of_margin.copy_from_slice(&wanted);
                };
                let losses = margins
                    .iter()
                    .zip(&detector.values)
                    .map(|(&margin, score)| {
                        if margin > SELECTIVE_MARGIN {
                            -score
                        } else {
                            margin
                        }
                    });
                (losses.collect(), of_images(&mix, &detector.gradient))
            }
            Goal::FeatureMatching => {
                let guide = |&row: &usize| &self.guides[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES];
                let guides: Vec<f32> = rows.iter().flat_map(guide).copied().collect();
                let similar = self.defense.similarity_gradient(rows, pixels, &guides)?;
                let mix = |i: usize, of_margin: &mut [f32], of_similarity: &[f32]| {
                    let scale = length(of_margin) / length(of_similarity).max(f32::MIN_POSITIVE);
                    let (a, b) = (below_bound(i), scale.min(f32::MAX));
                    for (g, s) in of_margin.iter_mut().zip(of_similarity) {
                        *g = a * *g + b * s;
                    }
                };
                let losses = margins.iter().zip(&similar.values);
                let losses = losses.map(|(&margin, similarity)| bounded(margin) + similarity);
                (losses.collect(), of_images(&mix, &similar.gradient))
            }
        })
    }
}

fn length(values: &[f32]) -> f32 {
    crate::threat::length_l2(values)
}

/// Subtracts from `values` its projection on `direction`.
fn remove_projection(values: &mut [f32], direction: &[f32]) {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let part = (dot(values, direction) / (dot(direction, direction) + 1e-20)) as f32;
    for (value, direction) in values.iter_mut().zip(direction) {
        *value -= part * direction;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_without_its_projection_is_orthogonal_to_the_direction() {
        let mut values = [1.0, 2.0, -3.0];
        let direction = [0.5, 0.0, 2.0];
        remove_projection(&mut values, &direction);
        let dot: f32 = values.iter().zip(direction).map(|(a, b)| a * b).sum();
        assert!(dot.abs() < 1e-6, "{values:?}");
        let unchanged = values;
        remove_projection(&mut values, &[0.0; 3]);
        assert_eq!(values, unchanged);
    }
}
