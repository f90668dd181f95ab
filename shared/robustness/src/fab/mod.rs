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

use crate::{
    Batch, Outcome, Settings, Target, ThreatModel,
    in_turn::{ImageCopy, in_turn},
    loss::descending,
};

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
    // The class with the largest logit is the label.
    let targets = TARGET_CLASSES.min(classes.saturating_sub(1));
    let restarts = settings.restarts.unwrap_or(1) as usize;
    in_turn(batch, targets * restarts, |copies| {
        let rank = |copy: ImageCopy| copy.attempt / restarts + 1;
        let restart = |copy: ImageCopy| copy.attempt % restarts;
        let classes = copies.iter().map(|copy| ranks[copy.row][rank(copy)]);
        let mut run = FabRun::new(threat, copies.images(batch), classes.collect());
        for (i, copy) in copies.iter().enumerate() {
            if restart(copy) > 0 {
                run.start_at_random(i, settings.seed, [rank(copy) as u64, restart(copy) as u64]);
            }
        }
        finish(run, target, threat.eps, steps, &copies.firsts())
    })
}

/// Takes the steps of a run; the outcome of each image. `firsts` has for each the first of those that are copies of one
/// image: copies after a success leave.
fn finish(
    mut run: FabRun,
    target: &Target,
    eps: f32,
    steps: u32,
    firsts: &[usize],
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = vec![None; run.len()];
    let mut rows: Vec<usize> = (0..run.len()).collect();
    for _ in 0..steps {
        let misclassified = run.advance(target)?;
        for (i, misclassified) in misclassified.into_iter().enumerate() {
            if misclassified && run.distance(i) <= eps {
                outcomes[rows[i]] = Some(run.point(i).to_vec());
            } else if misclassified {
                run.retreat(i);
            }
        }
        let closed = |row: usize| outcomes[firsts[row]..=row].iter().any(Option::is_some);
        let kept: Vec<usize> = (0..rows.len()).filter(|&i| !closed(rows[i])).collect();
        if kept.is_empty() {
            break;
        }
        if kept.len() < rows.len() {
            run.keep(&kept);
            rows = kept.iter().map(|&i| rows[i]).collect();
        }
    }
    Ok(outcomes)
}
