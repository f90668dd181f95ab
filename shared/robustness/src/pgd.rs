//! PGD, projected gradient descent with random restarts (Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards
//! deep learning models resistant to adversarial attacks", 2018). Any misclassified iterate is a success, the
//! random start included.

use base::Result;
use data::IMAGE_BYTES;
use rayon::prelude::*;

use super::{
    Batch, Outcome, Settings, Target, ThreatModel,
    loss::Loss,
    objective::{ClassifierObjective, Objective},
    search::Search,
};

/// Steps where the settings name none.
const STEPS: u32 = 20;

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pgd {
    /// Gradient steps of each start.
    pub steps: u32,
    /// Random starts, uniform in the ball.
    pub restarts: u32,
    /// Length of a step in `[0,1]` units.
    pub step_size: f32,
    /// Purpose of the random numbers.
    pub purpose: &'static str,
    /// Number of the attempt of this purpose: other attempts have other starts.
    pub attempt: u64,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Pgd {
    /// Steps of `2.5 * eps / steps`, as in the authors' code, so that the ball's surface is reached from
    /// everywhere in it.
    pub fn usual(
        steps: u32,
        restarts: u32,
        threat: &ThreatModel,
        purpose: &'static str,
        seed: u64,
    ) -> Self {
        Self {
            steps,
            restarts,
            step_size: 2.5 * threat.eps / steps as f32,
            purpose,
            attempt: 0,
            seed,
        }
    }

    /// Attacks every image of the batch; successful ones leave it.
    pub fn run<'a>(
        &self,
        objective: &'a dyn Objective,
        batch: &Batch,
        threat: &ThreatModel,
    ) -> Result<Search<'a>> {
        let mut search = Search::new(objective, batch.len());
        self.continue_search(&mut search, objective, batch, threat)?;
        Ok(search)
    }

    /// Attacks the images that `search` has not finished.
    pub fn continue_search(
        &self,
        search: &mut Search,
        objective: &dyn Objective,
        batch: &Batch,
        threat: &ThreatModel,
    ) -> Result<()> {
        for restart in 0..self.restarts {
            let mut rows = search.open();
            let start = |&row: &usize| {
                let indices = [batch.ids[row], self.attempt, u64::from(restart)];
                threat.random_point(batch.image(row), self.seed, self.purpose, &indices)
            };
            let mut points: Vec<f32> = rows.par_iter().flat_map_iter(start).collect();
            for step in 0..=self.steps {
                if rows.is_empty() {
                    break;
                }
                let evaluated = objective.evaluate(&rows, &points)?;
                search.record(&rows, &points, &evaluated.verdicts);
                if step < self.steps {
                    let images = points.par_chunks_exact_mut(IMAGE_BYTES).zip(&rows);
                    images
                        .zip(evaluated.gradient.par_chunks_exact(IMAGE_BYTES))
                        .for_each(|((point, &row), gradient)| {
                            threat.ascend(point, gradient, self.step_size);
                            threat.project(batch.image(row), point);
                        });
                    let kept: Vec<usize> = (0..rows.len())
                        .filter(|&i| !search.is_done(rows[i]))
                        .collect();
                    if kept.len() < rows.len() {
                        points = gather(&points, &kept);
                        rows = kept.iter().map(|&i| rows[i]).collect();
                    }
                }
            }
        }
        Ok(())
    }
}

/// The registry's attack on a loss of the model's logits.
pub fn on_classifier(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    settings: &Settings,
    loss: Loss,
    purpose: &'static str,
) -> Result<Vec<Outcome>> {
    let objective = ClassifierObjective::untargeted(target, batch, loss);
    let (steps, restarts) = (
        settings.steps.unwrap_or(STEPS),
        settings.restarts.unwrap_or(1),
    );
    let attack = Pgd::usual(steps, restarts, threat, purpose, settings.seed);
    Ok(attack.run(&objective, batch, threat)?.into_outcomes())
}

/// These images of `B * 3072` numbers.
fn gather(pixels: &[f32], rows: &[usize]) -> Vec<f32> {
    let image = |&row: &usize| &pixels[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES];
    rows.iter().flat_map(image).copied().collect()
}
