//! Objective of a gradient attack: what it increases, with the gradient in the pixels, and the verdict
//! whether a point is an adversarial example.

use attacks::logits;
use base::Result;

use super::{Batch, Target, loss::Loss};

/// A point's loss, its gradient and its verdict, for each of some images.
pub struct Evaluated {
    /// The loss of each image.
    pub losses: Vec<f32>,
    /// d loss / d pixels, `B * 3072`; each image's loss depends on its own pixels alone.
    pub gradient: Vec<f32>,
    /// How adversarial each point is.
    pub verdicts: Vec<Verdict>,
}

/// How adversarial a point is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The model's argmax is the label.
    Correct,
    /// It is another class; the defense's score of the point, negative infinity without a defense.
    Misclassified {
        /// The detector's score: the larger, the more adversarial it looks.
        score: f32,
    },
}

/// What a gradient attack increases.
pub trait Objective {
    /// Evaluates points (`B * 3072`), which belong to these rows of the batch.
    fn evaluate(&self, rows: &[usize], pixels: &[f32]) -> Result<Evaluated>;

    /// Whether a verdict ends the attack on an image.
    fn is_success(&self, verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Misclassified { .. })
    }
}

/// A loss of a classifier's logits.
pub struct ClassifierObjective<'a> {
    /// The model.
    pub target: &'a Target<'a>,
    /// All images.
    pub batch: &'a Batch,
    /// The loss.
    pub loss: Loss,
    /// For each image the class that a targeted loss moves to; else empty.
    pub targets: Vec<usize>,
}

impl<'a> ClassifierObjective<'a> {
    /// A loss without a target class.
    pub fn untargeted(target: &'a Target<'a>, batch: &'a Batch, loss: Loss) -> Self {
        Self {
            target,
            batch,
            loss,
            targets: Vec::new(),
        }
    }
}

impl Objective for ClassifierObjective<'_> {
    fn evaluate(&self, rows: &[usize], pixels: &[f32]) -> Result<Evaluated> {
        let ids: Vec<u64> = rows.iter().map(|&row| self.batch.ids[row]).collect();
        let labels: Vec<u8> = rows.iter().map(|&row| self.batch.labels[row]).collect();
        let mut losses = vec![0.0; rows.len()];
        let gradient = self
            .target
            .gradient(pixels, &ids, &labels, |i, logits, grad| {
                let class = self.targets.get(rows[i]).copied().unwrap_or(0);
                losses[i] = self.loss.value(logits, labels[i], class, grad);
            })?;
        let verdicts = gradient.logits.iter().zip(&labels);
        let verdicts = verdicts.map(|(row, &label)| match logits::argmax(row) == label {
            true => Verdict::Correct,
            false => Verdict::Misclassified {
                score: f32::NEG_INFINITY,
            },
        });
        Ok(Evaluated {
            losses,
            verdicts: verdicts.collect(),
            gradient: gradient.pixels,
        })
    }
}
