//! Steps of FAB towards one target class for each image of a batch: onto the linearized class boundary, from the iterate
//! and from the clean image, and back towards the clean image when the iterate is adversarial.

use attacks::logits;
use base::Result;
use data::IMAGE_BYTES;
use rayon::prelude::*;

use super::projection::displacement;
use crate::{Batch, Norm, Target, ThreatModel, threat::length_l2};

/// Overshoot beyond the boundary, as a factor of the displacement (eta).
const OVERSHOOT: f32 = 1.05;
/// The largest part of the step that starts at the clean image (alpha_max).
const MAX_CLEAN_PART: f32 = 0.1;
/// The part of an adversarial perturbation that is kept (beta).
const KEPT: f32 = 0.9;
/// The least length of a displacement in the weighting of the two.
const MIN_LENGTH: f32 = 1e-8;

/// Iterates of a batch, each with its target class.
pub struct FabRun {
    threat: ThreatModel,
    images: Batch,
    classes: Vec<usize>,
    points: Vec<f32>,
}

impl FabRun {
    /// Starts at the clean images, with a target class for each, other than its label.
    pub fn new(threat: &ThreatModel, images: Batch, classes: Vec<usize>) -> Self {
        Self {
            threat: *threat,
            points: images.clean.clone(),
            images,
            classes,
        }
    }

    /// Starts an image at a random point at half of the threat model's radius; `indices` tell this start from others.
    pub fn start_at_random(&mut self, row: usize, seed: u64, [rank, restart]: [u64; 2]) {
        let half = ThreatModel {
            eps: self.threat.eps / 2.0,
            ..self.threat
        };
        let indices = [self.images.ids[row], rank, restart];
        let start = half.random_surface_point(self.images.image(row), seed, "fab-t", &indices);
        self.points[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES].copy_from_slice(&start);
    }

    /// How many images it has.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The iterate of one image.
    pub fn point(&self, row: usize) -> &[f32] {
        &self.points[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES]
    }

    /// How far the iterate of one image is from its clean image.
    pub fn distance(&self, row: usize) -> f32 {
        self.threat
            .distance(self.images.image(row), self.point(row))
    }

    /// Moves all iterates to the boundaries of their target classes, and tells which are misclassified there, as any
    /// class.
    ///
    /// # Errors
    /// As [`Target::gradient`].
    pub fn advance(&mut self, target: &Target) -> Result<Vec<bool>> {
        let (norm, Batch { clean, labels, ids }) = (self.threat.norm, &self.images);
        let mut differences = vec![0.0; labels.len()];
        let gradient = target.gradient(&self.points, ids, labels, |row, logits, gradient| {
            let (class, label) = (self.classes[row], usize::from(labels[row]));
            differences[row] = f64::from(logits[class] - logits[label]);
            gradient[class] += 1.0;
            gradient[label] -= 1.0;
        })?;
        self.points
            .par_chunks_exact_mut(IMAGE_BYTES)
            .zip(clean.par_chunks_exact(IMAGE_BYTES))
            .zip(gradient.pixels.par_chunks_exact(IMAGE_BYTES))
            .zip(differences)
            .for_each(|(((point, clean), normal), difference)| {
                step(norm, point, clean, normal, difference);
            });
        let rows = target.logits(&self.points, ids, labels)?;
        let rows = rows.iter().zip(labels);
        Ok(rows
            .map(|(row, &label)| logits::argmax(row) != label)
            .collect())
    }

    /// Moves an adversarial iterate back towards the clean image.
    pub fn retreat(&mut self, row: usize) {
        let clean = self.images.image(row);
        let point = &mut self.points[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES];
        for (x, &c) in point.iter_mut().zip(clean) {
            *x = c + (*x - c) * KEPT;
        }
    }

    /// Leaves only these images, in this order.
    pub fn keep(&mut self, rows: &[usize]) {
        self.points = rows
            .iter()
            .flat_map(|&row| self.point(row))
            .copied()
            .collect();
        self.classes = rows.iter().map(|&row| self.classes[row]).collect();
        self.images = self.images.select(rows);
    }
}

/// One step: `normal` is the gradient at `point` of the target's logit less the label's, `difference` its value there.
fn step(norm: Norm, point: &mut [f32], clean: &[f32], normal: &[f32], difference: f64) {
    let moved = point.iter().zip(clean).zip(normal);
    let toward_clean = moved.map(|((&x, &c), &w)| f64::from(w) * (f64::from(c) - f64::from(x)));
    let from_point = displacement(norm, point, normal, difference);
    let from_clean = displacement(norm, clean, normal, difference + toward_clean.sum::<f64>());
    let of_point = length(norm, &from_point).max(MIN_LENGTH);
    let of_clean = length(norm, &from_clean).max(MIN_LENGTH);
    let part = (of_point / (of_point + of_clean)).min(MAX_CLEAN_PART);
    let displacements = from_point.iter().zip(&from_clean);
    for ((x, &c), (&dx, &dc)) in point.iter_mut().zip(clean).zip(displacements) {
        let (from_point, from_clean) = (*x + OVERSHOOT * dx, c + OVERSHOOT * dc);
        *x = (from_point * (1.0 - part) + from_clean * part).clamp(0.0, 1.0);
    }
}

fn length(norm: Norm, displacement: &[f32]) -> f32 {
    match norm {
        Norm::Linf => displacement
            .iter()
            .fold(0.0, |largest, d| d.abs().max(largest)),
        Norm::L2 => length_l2(displacement),
    }
}
