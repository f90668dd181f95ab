//! One run of APGD on a batch: steps with momentum and a step size of each image's own, halved at
//! checkpoints (Croce & Hein 2020, algorithm 1).

use base::Result;
use data::IMAGE_BYTES;
use rayon::prelude::*;

use super::schedule::Schedule;
use crate::{
    Batch, ThreatModel,
    objective::{Evaluated, Objective, Verdict},
};

/// Part of the new step; the rest is momentum. The first step has none.
const MOMENTUM: f32 = 0.75;
/// Fewer increases than this part of a window halve the step size.
const ENOUGH_INCREASES: f32 = 0.75;

/// An image's state.
pub struct Ascent {
    /// Its row in the batch.
    pub row: usize,
    /// The current iterate, `3072` numbers.
    pub point: Vec<f32>,
    /// Length of the next step.
    pub step_size: f32,
    /// The loss of the start and of every iterate.
    pub losses: Vec<f32>,
    previous: Vec<f32>,
    gradient: Vec<f32>,
    best: Vec<f32>,
    best_gradient: Vec<f32>,
    best_loss: f32,
    best_loss_at_check: f32,
    halved_at_check: bool,
}

/// A run on images that may leave it.
pub struct ApgdRun<'a> {
    objective: &'a dyn Objective,
    batch: &'a Batch,
    threat: ThreatModel,
    schedule: Schedule,
    images: Vec<Ascent>,
    verdicts: Vec<Verdict>,
}

impl<'a> ApgdRun<'a> {
    /// Evaluates the starts (`3072` numbers for each of `rows`) of a run of `iterations`.
    pub fn new(
        objective: &'a dyn Objective,
        batch: &'a Batch,
        threat: &ThreatModel,
        iterations: u32,
        rows: &[usize],
        starts: &[f32],
    ) -> Result<Self> {
        let evaluated = objective.evaluate(rows, starts)?;
        let part =
            |values: &[f32], i: usize| values[i * IMAGE_BYTES..(i + 1) * IMAGE_BYTES].to_vec();
        let image = |(i, &row): (usize, &usize)| Ascent {
            row,
            point: part(starts, i),
            step_size: 2.0 * threat.eps,
            losses: vec![evaluated.losses[i]],
            previous: part(starts, i),
            gradient: part(&evaluated.gradient, i),
            best: part(starts, i),
            best_gradient: part(&evaluated.gradient, i),
            best_loss: evaluated.losses[i],
            best_loss_at_check: evaluated.losses[i],
            // No check before the first one: lack of improvement alone does not halve there.
            halved_at_check: true,
        };
        Ok(Self {
            objective,
            batch,
            threat: *threat,
            schedule: Schedule::new(iterations),
            images: rows.iter().enumerate().map(image).collect(),
            verdicts: evaluated.verdicts,
        })
    }

    /// The images of the run.
    pub fn images(&self) -> &[Ascent] {
        &self.images
    }

    /// Rows, iterates (`3072` numbers each) and their verdicts.
    pub fn iterates(&self) -> (Vec<usize>, Vec<f32>, &[Verdict]) {
        let rows = self.images.iter().map(|image| image.row).collect();
        let points = self.images.iter().flat_map(|image| &image.point).copied();
        (rows, points.collect(), &self.verdicts)
    }

    /// Keeps the images for which `keep` holds, given their rows.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let kept: Vec<bool> = self.images.iter().map(|image| keep(image.row)).collect();
        let mut flags = kept.iter();
        self.images.retain(|_| flags.next() == Some(&true));
        let mut flags = kept.iter();
        self.verdicts.retain(|_| flags.next() == Some(&true));
    }

    /// Has the first window compare the first iterate's loss with `loss` and not with the start's.
    /// AutoAttack's code compares it with 0, an unset entry of its buffer; for tests of equality.
    pub fn set_start_losses(&mut self, loss: f32) {
        for image in &mut self.images {
            image.losses[0] = loss;
        }
    }

    /// Takes one step with every image and evaluates the iterates, [`Self::iterates`]; at a checkpoint
    /// halves the step sizes that made too little progress and goes back to the best iterate.
    /// Returns rows, iterates and verdicts before that.
    pub fn advance(&mut self) -> Result<(Vec<usize>, Vec<f32>, Vec<Verdict>)> {
        let (threat, batch) = (self.threat, self.batch);
        self.images.par_iter_mut().for_each(|image| {
            let clean = batch.image(image.row);
            image.step(clean, &threat);
        });
        let (rows, points, _) = self.iterates();
        let evaluated = self.objective.evaluate(&rows, &points)?;
        let window = self.schedule.tick();
        self.take(&evaluated, window);
        self.verdicts = evaluated.verdicts.clone();
        Ok((rows, points, evaluated.verdicts))
    }

    fn take(&mut self, evaluated: &Evaluated, window: Option<usize>) {
        let gradients = evaluated.gradient.par_chunks_exact(IMAGE_BYTES);
        let images = self
            .images
            .par_iter_mut()
            .zip(gradients)
            .zip(&evaluated.losses);
        images.for_each(|((image, gradient), &loss)| {
            image.take(loss, gradient);
            if let Some(window) = window {
                image.check(window);
            }
        });
    }
}

impl Ascent {
    /// `x+ = P(x + a (z - x) + (1 - a)(x - x_previous))` with the gradient step `z = P(x + step)`.
    fn step(&mut self, clean: &[f32], threat: &ThreatModel) {
        let part = if self.losses.len() == 1 {
            1.0
        } else {
            MOMENTUM
        };
        let mut next = self.point.clone();
        threat.ascend(&mut next, &self.gradient, self.step_size);
        threat.project(clean, &mut next);
        for ((next, &x), &previous) in next.iter_mut().zip(&self.point).zip(&self.previous) {
            *next = x + (*next - x) * part + (x - previous) * (1.0 - part);
        }
        threat.project(clean, &mut next);
        self.previous = std::mem::replace(&mut self.point, next);
    }

    /// Takes the loss and the gradient of the iterate.
    fn take(&mut self, loss: f32, gradient: &[f32]) {
        self.losses.push(loss);
        self.gradient.copy_from_slice(gradient);
        if loss > self.best_loss {
            self.best_loss = loss;
            self.best.copy_from_slice(&self.point);
            self.best_gradient.copy_from_slice(gradient);
        }
    }

    /// Halves the step size and returns to the best iterate where the loss rose in too few steps of the
    /// window, or where the best loss has not risen with this step size since the last check. The
    /// momentum of the next step is the way back to it, as in AutoAttack's code.
    fn check(&mut self, window: usize) {
        let last = &self.losses[self.losses.len() - window - 1..];
        let increases = last.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let few = increases as f32 <= window as f32 * ENOUGH_INCREASES;
        let stuck = !self.halved_at_check && self.best_loss_at_check >= self.best_loss;
        self.halved_at_check = few || stuck;
        self.best_loss_at_check = self.best_loss;
        if self.halved_at_check {
            self.step_size /= 2.0;
            self.point.copy_from_slice(&self.best);
            self.gradient.copy_from_slice(&self.best_gradient);
        }
    }
}
