//! Fills the table of the attacks on the classifier: each image, budget and attack in turn; an image that is fooled
//! leaves.

use std::ops::Range;

use base::{Result, progress::Progress};
use robustness::{EvaluationAttack, Target, ThreatModel};

use super::{
    images::Selection,
    settings::RobustSettings,
    table::{Keys, Rows, Table},
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
    table: &mut Table,
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
    let missing = |table: &Table, positions: Range<usize>, eps: usize| -> Vec<usize> {
        positions
            .filter(|&position| !table.rows().contains_key(&(position, eps)))
            .collect()
    };
    let total: usize = (0..settings.eps.len())
        .map(|eps| missing(table, range.clone(), eps).len())
        .sum();
    let mut bar = Progress::new("attacks", total as u64);
    let (mut robust, mut done) = (0, 0);
    for start in range.clone().step_by(batch_size) {
        let chunk = start..range.end.min(start + batch_size);
        for (number, eps) in settings.eps.iter().enumerate() {
            let positions = missing(table, chunk.clone(), number);
            if positions.is_empty() {
                continue;
            }
            let threat = ThreatModel {
                norm: settings.norm,
                eps: eps.value() as f32,
            };
            let flags = attack(target, selection, &positions, &attacks, &threat, settings)?;
            robust += flags
                .iter()
                .filter(|flags| flags.last() == Some(&true))
                .count();
            done += positions.len();
            let row = |(position, flags): (usize, Vec<bool>)| {
                let flags = flags.into_iter().map(|flag| u8::from(flag).to_string());
                ((position, number), flags.collect())
            };
            let rows: Rows = positions.into_iter().zip(flags).map(row).collect();
            let added = rows.len() as u64;
            table.add(keys, rows)?;
            let share = 100.0 * robust as f64 / done as f64;
            bar.add(added, &format!("robust accuracy so far {share:.1} %"));
        }
    }
    bar.finish();
    Ok(())
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
