//! Bookkeeping of a gradient attack on a batch: which images are still attacked, and the best adversarial
//! example of each.

use data::IMAGE_BYTES;

use super::{
    in_turn::Copies,
    objective::{Objective, Verdict},
    registry::Outcome,
};

/// An adversarial example.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// `3072` numbers in `[0,1]`.
    pub pixels: Vec<f32>,
    /// The detector's score there, negative infinity without one.
    pub score: f32,
}

/// The best adversarial example of each image so far: the one that looks least adversarial.
pub struct Search<'a> {
    objective: &'a dyn Objective,
    found: Vec<Option<Found>>,
    /// For each row the first of those that are copies of one image.
    firsts: Vec<usize>,
}

impl<'a> Search<'a> {
    /// Nothing found for any of `images` images.
    pub fn new(objective: &'a dyn Objective, images: usize) -> Self {
        Self::resume(objective, vec![None; images])
    }

    /// Goes on from what earlier attacks have found.
    pub fn resume(objective: &'a dyn Objective, found: Vec<Option<Found>>) -> Self {
        let firsts = (0..found.len()).collect();
        Self {
            objective,
            found,
            firsts,
        }
    }

    /// Nothing found for any of these copies of images.
    pub fn of_copies(objective: &'a dyn Objective, copies: &Copies) -> Self {
        let firsts = copies.firsts();
        Self {
            objective,
            found: vec![None; firsts.len()],
            firsts,
        }
    }

    /// The rows of the images that are still to be attacked.
    pub fn open(&self) -> Vec<usize> {
        (0..self.found.len())
            .filter(|&row| !self.is_closed(row))
            .collect()
    }

    /// Whether the attack has succeeded on this image, or on a copy of it with an earlier attempt.
    pub fn is_closed(&self, row: usize) -> bool {
        (self.firsts[row]..=row).any(|row| self.is_done(row))
    }

    /// Whether the attack has succeeded on this image.
    pub fn is_done(&self, row: usize) -> bool {
        self.found[row].as_ref().is_some_and(|found| {
            self.objective
                .is_success(Verdict::Misclassified { score: found.score })
        })
    }

    /// Takes the verdicts on points (`3072` numbers each) of these rows.
    pub fn record(&mut self, rows: &[usize], pixels: &[f32], verdicts: &[Verdict]) {
        for ((&row, point), verdict) in rows
            .iter()
            .zip(pixels.chunks_exact(IMAGE_BYTES))
            .zip(verdicts)
        {
            let Verdict::Misclassified { score } = *verdict else {
                continue;
            };
            if self.found[row]
                .as_ref()
                .is_none_or(|best| score < best.score)
            {
                self.found[row] = Some(Found {
                    pixels: point.to_vec(),
                    score,
                });
            }
        }
    }

    /// The best misclassified points, whether they end the attack or not.
    pub fn into_found(self) -> Vec<Option<Found>> {
        self.found
    }

    /// The successes.
    pub fn into_outcomes(self) -> Vec<Outcome> {
        let done: Vec<bool> = (0..self.found.len()).map(|row| self.is_done(row)).collect();
        let found = self.found.into_iter().zip(done);
        found
            .map(|(found, done)| found.filter(|_| done).map(|found| found.pixels))
            .collect()
    }
}
