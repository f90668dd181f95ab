//! FAB-T: the targeted fast adaptive boundary attack, Linf and L2 (Croce & Hein 2020, "Minimally distorted adversarial
//! examples with a fast adaptive boundary attack"), with the parameters of AutoAttack's standard set.
//!
//! It looks for the adversarial example nearest to the clean image, one target class after the other in the order of
//! the clean logits. Here an image is done as soon as one within the threat model's radius is found: going on could
//! only find a nearer one.

pub mod projection;
mod search;

pub use search::Search;

use attacks::logits;
use base::Result;

use crate::{Batch, Outcome, Settings, Target, ThreatModel};

/// Steps for each target class.
const STEPS: u32 = 100;
/// The most target classes.
const TARGETS: usize = 9;

/// FAB-T. `steps` (100) are those for each target class, `restarts` (1) the starts: the first is the clean image, the
/// others are random. A misclassified clean image is its own adversarial example.
///
/// # Errors
/// As [`Target::gradient`].
pub fn fab_t(
    target: &Target,
    batch: &Batch,
    threat: &ThreatModel,
    settings: &Settings,
) -> Result<Vec<Outcome>> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let rows = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
    let mut outcomes: Vec<Outcome> = (0..batch.len())
        .map(|row| {
            let misclassified = logits::argmax(&rows[row]) != batch.labels[row];
            misclassified.then(|| batch.image(row).to_vec())
        })
        .collect();
    let targets: Vec<Vec<usize>> = (rows.iter().zip(&batch.labels))
        .map(|(row, &label)| targets(row, label))
        .collect();
    for rank in 0..targets[0].len() {
        for restart in 0..settings.restarts.unwrap_or(1) {
            let robust: Vec<usize> = (0..batch.len())
                .filter(|&row| outcomes[row].is_none())
                .collect();
            if robust.is_empty() {
                return Ok(outcomes);
            }
            let classes = robust.iter().map(|&row| targets[row][rank]).collect();
            let mut search = Search::new(threat.norm, batch.select(&robust), classes);
            if restart > 0 {
                let indices = [rank as u64, u64::from(restart)];
                search = search.at_random(threat, settings.seed, indices);
            }
            run(
                target,
                threat,
                settings.steps.unwrap_or(STEPS),
                search,
                robust,
                &mut outcomes,
            )?;
        }
    }
    Ok(outcomes)
}

/// The target classes of an image: all but its label, from the largest logit down, at most nine; of equal logits the
/// first class comes first.
fn targets(row: &[f32], label: u8) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..row.len())
        .filter(|&class| class != usize::from(label))
        .collect();
    classes.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    classes.truncate(TARGETS);
    classes
}

/// Steps of one search; `rows` are its images' places in `outcomes`, which it fills for adversarial examples within the
/// radius.
fn run(
    target: &Target,
    threat: &ThreatModel,
    steps: u32,
    mut search: Search,
    mut rows: Vec<usize>,
    outcomes: &mut [Outcome],
) -> Result<()> {
    for _ in 0..steps {
        let misclassified = search.advance(target)?;
        let mut kept = Vec::new();
        for (i, misclassified) in misclassified.into_iter().enumerate() {
            if misclassified {
                if threat.distance(search.clean(i), search.point(i)) <= threat.eps {
                    outcomes[rows[i]] = Some(search.point(i).to_vec());
                    continue;
                }
                search.retreat(i);
            }
            kept.push(i);
        }
        if kept.is_empty() {
            break;
        }
        if kept.len() < rows.len() {
            search.keep(&kept);
            rows = kept.iter().map(|&i| rows[i]).collect();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_other_classes_from_the_largest_logit_down() {
        let row = [1.0, 5.0, -2.0, 5.0, 0.0];
        assert_eq!(targets(&row, 1), [3, 0, 4, 2]);
        assert_eq!(targets(&row, 2), [1, 3, 0, 4]);
        assert_eq!(targets(&[0.0; 100], 0), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
