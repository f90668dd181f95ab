//! FAB-T: the targeted fast adaptive boundary attack, Linf and L2 (Croce & Hein 2020, "Minimally distorted adversarial
//! examples with a fast adaptive boundary attack"), with the parameters of AutoAttack's standard set.
//!
//! It looks for the adversarial example nearest to the clean image, one target class after the other in the order of
//! the clean logits. Here an image is done as soon as one within the threat model's radius is found: going on could
//! only find a nearer one.

pub mod projection;
mod run;

pub use run::FabRun;

use base::Result;

use crate::{Batch, Outcome, Settings, Target, ThreatModel, loss::descending};

/// Steps for each target class.
const STEPS: u32 = 100;
/// The most target classes.
const TARGET_CLASSES: usize = 9;

/// FAB-T. `steps` (100) are those for each target class, `restarts` (1) the starts: the first is the clean image, the
/// others are random. All images are classified correctly.
///
/// # Errors
/// As [`Target::gradient`].
pub fn fab_t(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    settings: &Settings,
) -> Result<Vec<Outcome>> {
    let logits = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
    let ranks: Vec<Vec<usize>> = logits.iter().map(|row| descending(row)).collect();
    let classes = ranks.first().map_or(0, Vec::len);
    let steps = settings.steps.unwrap_or(STEPS);
    let mut outcomes: Vec<Outcome> = vec![None; batch.len()];
    for nth in 0..TARGET_CLASSES.min(classes.saturating_sub(1)) {
        for restart in 0..settings.restarts.unwrap_or(1) {
            let open: Vec<usize> = (0..batch.len())
                .filter(|&row| outcomes[row].is_none())
                .collect();
            if open.is_empty() {
                return Ok(outcomes);
            }
            // The class with the largest logit is the label.
            let rank = nth + 1;
            let classes = open.iter().map(|&row| ranks[row][rank]).collect();
            let mut run = FabRun::new(threat, batch.select(&open), classes);
            if restart > 0 {
                let indices = [rank as u64, u64::from(restart)];
                run = run.at_random(settings.seed, indices);
            }
            for (row, pixels) in finish(run, target, threat.eps, steps)? {
                outcomes[open[row]] = Some(pixels);
            }
        }
    }
    Ok(outcomes)
}

/// Takes the steps of a run; returns the rows of the images for which an adversarial example lies within the radius, and
/// its pixels.
fn finish(
    mut run: FabRun,
    target: &Target,
    eps: f32,
    steps: u32,
) -> Result<Vec<(usize, Vec<f32>)>> {
    let mut found = Vec::new();
    let mut rows: Vec<usize> = (0..run.len()).collect();
    for _ in 0..steps {
        let misclassified = run.advance(target)?;
        let mut kept = Vec::new();
        for (i, misclassified) in misclassified.into_iter().enumerate() {
            if misclassified && run.distance(i) <= eps {
                found.push((rows[i], run.point(i).to_vec()));
                continue;
            }
            if misclassified {
                run.retreat(i);
            }
            kept.push(i);
        }
        if kept.is_empty() {
            break;
        }
        if kept.len() < rows.len() {
            run.keep(&kept);
            rows = kept.iter().map(|&i| rows[i]).collect();
        }
    }
    Ok(found)
}
