//! Fills the table of the attacks on classifier and detector together: for each image, budget and attack the lowest
//! detector score of a misclassified point. Thresholds come from clean `val` images alone.

use std::ops::Range;

use base::{Result, progress::Progress};
use data::Image;
use nn::model::{Classifier, Detector};
use robustness::{
    Batch, Target, ThreatModel,
    adaptive::{ADAPTIVE_ATTACKS, AdaptiveAttack, defense::Defense},
};

use super::{
    images::{Selection, floats},
    settings::RobustSettings,
    table::{Keys, RowTable},
};

/// The columns of the attacks.
pub fn columns() -> Vec<String> {
    ADAPTIVE_ATTACKS
        .iter()
        .map(|attack| attack.name.to_string())
        .collect()
}

/// The detector and the model whose feature maps it sees.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    /// The pretrained model.
    pub pretrained: &'a dyn Classifier,
    /// The detector.
    pub detector: &'a Detector,
}

impl Guard<'_> {
    /// The detector's scores of clean images.
    pub fn scores(
        &self,
        what: &str,
        target: &Target,
        images: &[Image],
        batch_size: usize,
    ) -> Result<Vec<f32>> {
        let mut bar = Progress::new(what, images.len() as u64);
        let none = Batch::default();
        let defense = self.defense(target, &none, 0.0);
        let mut scores = Vec::with_capacity(images.len());
        for chunk in images.chunks(batch_size) {
            let pixels: Vec<f32> = chunk.iter().flat_map(floats).collect();
            let ids: Vec<u64> = chunk
                .iter()
                .map(|image| u64::from(image.source_index))
                .collect();
            scores.extend(defense.scores(&ids, &pixels)?);
            bar.add(chunk.len() as u64, "");
        }
        bar.finish();
        Ok(scores)
    }

    fn defense<'b>(&'b self, target: &'b Target, batch: &'b Batch, threshold: f32) -> Defense<'b> {
        Defense {
            target,
            pretrained: self.pretrained,
            detector: self.detector,
            threshold,
            batch,
        }
    }
}

/// Computes the rows that are missing of these images.
pub fn fill(
    table: &mut RowTable,
    keys: &Keys,
    selection: &Selection,
    range: Range<usize>,
    (target, settings, batch_size): (&Target, &RobustSettings, usize),
    (guard, threshold): (Guard, f32),
) -> Result<()> {
    table.fill(
        keys,
        "attacks on model and detector",
        (range, batch_size),
        |positions, eps| {
            let threat = settings.threat(eps);
            let batch = selection.batch(positions);
            let guides = selection.guides(positions)?;
            let defense = guard.defense(target, &batch, threshold);
            let columns = ADAPTIVE_ATTACKS
                .iter()
                .map(|attack| run(attack, &defense, &guides, &threat, settings))
                .collect::<Result<Vec<_>>>()?;
            let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
            Ok(((0..positions.len()).map(row).collect(), String::new()))
        },
    )
}

/// For each image the lowest score of a misclassified point as text; empty where none was found.
fn run(
    attack: &AdaptiveAttack,
    defense: &Defense,
    guides: &[f32],
    threat: &ThreatModel,
    settings: &RobustSettings,
) -> Result<Vec<String>> {
    let found = attack.attack(defense, guides, threat, &settings.of_attacks())?;
    let text =
        |found: Option<robustness::Found>| found.map_or(String::new(), |f| f.score.to_string());
    Ok(found.into_iter().map(text).collect())
}
