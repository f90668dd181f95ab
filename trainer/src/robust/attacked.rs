//! Fills the table of the attacks on the classifier: each image, budget and attack in turn; an image that is fooled
//! leaves.

use std::ops::Range;

use base::Result;
use robustness::{EvaluationAttack, Target, ThreatModel};

use super::{
    images::Selection,
    settings::RobustSettings,
    table::{Keys, RowTable},
};

/// The last column: whether the image is classified correctly after all attacks.
pub const ROBUST: &str = "robust";

/// The columns of the attacks.
pub fn columns(settings: &RobustSettings) -> Vec<String> {
    settings
        .attacks
        .iter()
        .cloned()
        .chain([ROBUST.to_string()])
        .collect()
}

/// Computes the rows that are missing of these images, `batch_size` at once.
pub fn fill(
    table: &mut RowTable,
    keys: &Keys,
    selection: &Selection,
    range: Range<usize>,
    (target, settings, batch_size): (&Target, &RobustSettings, usize),
) -> Result<()> {
    let attacks: Vec<&EvaluationAttack> = settings
        .attacks
        .iter()
        .filter_map(|name| EvaluationAttack::named(name))
        .collect();
    let (mut robust, mut done) = (0, 0);
    table.fill(keys, "attacks", (range, batch_size), |positions, eps| {
        let threat = settings.threat(eps);
        let flags = attack(target, selection, positions, &attacks, &threat, settings)?;
        robust += flags
            .iter()
            .filter(|flags| flags.last() == Some(&true))
            .count();
        done += positions.len();
        let share = 100.0 * robust as f64 / done as f64;
        let text = |flags: Vec<bool>| {
            flags
                .into_iter()
                .map(|flag| u8::from(flag).to_string())
                .collect()
        };
        let rows = flags.into_iter().map(text).collect();
        Ok((rows, format!("robust accuracy so far {share:.1} %")))
    })
}

/// For each image a flag after each attack, and the last one again.
fn attack(
    target: &Target,
    selection: &Selection,
    positions: &[usize],
    attacks: &[&EvaluationAttack],
    threat: &ThreatModel,
    settings: &RobustSettings,
) -> Result<Vec<Vec<bool>>> {
    let batch = selection.batch(positions);
    let mut flags: Vec<Vec<bool>> = vec![Vec::new(); positions.len()];
    // Without any attack the clean images are what is measured.
    let logits = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
    let correct = logits.iter().zip(&batch.labels);
    let mut robust: Vec<bool> = correct
        .map(|(row, &label)| attacks::logits::argmax(row) == label)
        .collect();
    for attack in attacks {
        let rows: Vec<usize> = (0..positions.len()).filter(|&row| robust[row]).collect();
        let found = attack.attack(target, &batch.select(&rows), threat, &settings.of_attacks())?;
        for (row, found) in rows.into_iter().zip(found) {
            robust[row] = found.is_none();
        }
        for (flags, &robust) in flags.iter_mut().zip(&robust) {
            flags.push(robust);
        }
    }
    for (flags, robust) in flags.iter_mut().zip(robust) {
        flags.push(robust);
    }
    Ok(flags)
}
