//! APGD, Auto-PGD (Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of
//! diverse parameter-free attacks"): PGD with momentum whose step sizes adapt, from random starts on the
//! ball's surface; untargeted, and targeted at the nine other classes with the largest logits.

pub mod ascent;
mod schedule;

use base::Result;
use rayon::prelude::*;

use self::ascent::ApgdRun;
use crate::{
    Batch, Outcome, Settings, Target, ThreatModel,
    in_turn::in_turn,
    loss::{Loss, descending},
    objective::{ClassifierObjective, Objective},
    search::Search,
};

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Apgd {
    /// Iterations of each start; 100 in AutoAttack.
    pub iterations: u32,
    /// Random starts; 1 in AutoAttack's standard set.
    pub restarts: u32,
    /// Purpose of the random numbers.
    pub purpose: &'static str,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// Iterations where the settings name none.
const ITERATIONS: u32 = 100;
/// Classes that a targeted attack tries, those with the largest logits; nine in AutoAttack.
const TARGET_CLASSES: usize = 9;

impl Apgd {
    /// Attacks the images that `search` has not finished; successful ones leave. `attempts` tells the starts of an image
    /// from those of other calls.
    pub fn run(
        &self,
        objective: &dyn Objective,
        batch: &Batch,
        threat: &ThreatModel,
        attempts: &[u64],
        search: &mut Search,
    ) -> Result<()> {
        for restart in 0..self.restarts {
            let rows = search.open();
            if rows.is_empty() {
                break;
            }
            let start = |&row: &usize| {
                let indices = [batch.ids[row], attempts[row], u64::from(restart)];
                threat.random_surface_point(batch.image(row), self.seed, self.purpose, &indices)
            };
            let starts: Vec<f32> = rows.par_iter().flat_map_iter(start).collect();
            let mut run = ApgdRun::new(objective, batch, threat, self.iterations, &rows, &starts)?;
            let (rows, points, verdicts) = run.iterates();
            search.record(&rows, &points, verdicts);
            for _ in 0..self.iterations {
                run.retain(|row| !search.is_closed(row));
                if run.images().is_empty() {
                    break;
                }
                let (rows, points, verdicts) = run.advance()?;
                search.record(&rows, &points, &verdicts);
            }
        }
        Ok(())
    }

    fn of(settings: &Settings, purpose: &'static str) -> Self {
        Self {
            iterations: settings.steps.unwrap_or(ITERATIONS),
            restarts: settings.restarts.unwrap_or(1),
            purpose,
            seed: settings.seed,
        }
    }
}

/// The registry's untargeted attacks.
pub fn untargeted(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    settings: &Settings,
    loss: Loss,
    purpose: &'static str,
) -> Result<Vec<Outcome>> {
    let objective = ClassifierObjective::untargeted(target, batch, loss);
    let mut search = Search::new(&objective, batch.len());
    let apgd = Apgd::of(settings, purpose);
    let attempts = vec![0; batch.len()];
    apgd.run(&objective, batch, threat, &attempts, &mut search)?;
    Ok(search.into_outcomes())
}

/// The registry's targeted attack: the targeted DLR loss, for the classes of rank 2, 3, ... in the clean
/// images' logits in turn.
pub fn targeted(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    settings: &Settings,
) -> Result<Vec<Outcome>> {
    let apgd = Apgd::of(settings, "apgd-t");
    let logits = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
    let ranks: Vec<Vec<usize>> = logits.iter().map(|row| descending(row)).collect();
    let classes = ranks.first().map_or(0, Vec::len);
    // Rank 0 is the label: these images are classified correctly.
    let attempts = TARGET_CLASSES.min(classes.saturating_sub(1));
    in_turn(batch, attempts, |copies| {
        let images = copies.images(batch);
        let targets = copies.iter().map(|copy| ranks[copy.row][copy.attempt + 1]);
        let objective = ClassifierObjective {
            target,
            batch: &images,
            loss: Loss::TargetedDlr,
            targets: targets.collect(),
        };
        let attempts: Vec<u64> = copies.iter().map(|copy| copy.attempt as u64 + 1).collect();
        let mut search = Search::of_copies(&objective, copies);
        apgd.run(&objective, &images, threat, &attempts, &mut search)?;
        Ok(search.into_outcomes())
    })
}
