//! Evaluation on corruptions computed from a data set's clean images.

use std::path::Path;

use base::{Error, Result, log, progress::Progress};
use data::{
    Split,
    corruptions::{CORRUPTIONS, Corruption, KeyedNoise, Severity},
};
use nn::model::{Origin, warn_of_accuracy};

use super::{
    CorruptionEvaluation, Evaluated, ShiftRequest,
    result::{CorruptionAccuracies, Source},
};

/// The clean images to corrupt.
pub struct CleanImages<'a> {
    /// Their data set.
    pub data: &'a Path,
    /// Their split, as the request's seed draws it.
    pub split: Split,
}

impl ShiftRequest<'_> {
    /// Evaluates the model on the images as they are and under these corruptions, which are all computed, at these
    /// severities.
    ///
    /// # Errors
    /// [`Error::Data`] when the split is `val` and the model was trained on images of it, [`Error::Usage`] for a
    /// corruption that is not computed and for a split without images.
    pub fn computed(
        &self,
        images: &CleanImages,
        corruptions: &[&'static Corruption],
        severities: &[Severity],
    ) -> Result<CorruptionEvaluation> {
        let model = self.load()?;
        let what = self.model.display();
        let data = data::load(images.data, self.seed, None)?;
        let description = model.loaded.network.describe();
        description.check_classes(&what, data.classes.len())?;
        if images.split == Split::Val {
            self.refuse_trained_val(&model, &data.source_hash)?;
        }
        let split = data.split(images.split);
        if split.is_empty() {
            let reason = format!("{}: no images of {}", images.data.display(), images.split);
            return Err(Error::Usage(reason));
        }
        let labels: Vec<u8> = split.iter().map(|image| image.label).collect();
        let chosen = self.chosen(&labels, data.classes.len())?;
        let first_id = data.images().find(|(_, part, _)| *part == images.split);
        let first_id = first_id.map_or(0, |(id, ..)| id);

        let cells = 1 + corruptions.len() * severities.len();
        let mut progress = Progress::new("eval", (chosen.len() * cells) as u64);
        let part = |correct: u64| correct as f64 / chosen.len() as f64;
        let plain = |index: usize| (split[index].pixels.to_vec(), labels[index]);
        let clean = part(model.correct(&chosen, plain, &mut progress, "clean")?);
        let on_val = (images.split == Split::Val).then_some(clean);
        warn_of_accuracy(&what, &model.loaded.metadata, on_val, Some(clean));

        let mut rows = Vec::with_capacity(CORRUPTIONS.len());
        for row in &CORRUPTIONS {
            let mut accuracies = [None; Severity::COUNT];
            let wanted = corruptions.iter().any(|wanted| wanted.name == row.name);
            if let Some(computed) = row.computed.filter(|_| wanted) {
                for &severity in severities {
                    let image = |index: usize| {
                        let id = first_id + index as u64;
                        let mut noise = KeyedNoise::new(self.seed, row, severity, id);
                        let pixels = &split[index].pixels;
                        (computed.apply(pixels, severity, &mut noise), labels[index])
                    };
                    let note = format!("{} {severity}", row.name);
                    let correct = model.correct(&chosen, image, &mut progress, &note)?;
                    accuracies[severity.index()] = Some(part(correct));
                }
            }
            rows.push(CorruptionAccuracies::new(row, accuracies));
        }
        progress.finish();
        let images = chosen.len() as u64;
        let mut result =
            CorruptionEvaluation::new(Source::Computed, model.describe(), images, rows);
        result.clean = Some(clean);
        result.warnings = log::warnings();
        Ok(result)
    }

    /// Refuses `val` of a data set where the model has been trained on it.
    fn refuse_trained_val(&self, model: &Evaluated, source_hash: &str) -> Result<()> {
        match Origin::of(&model.loaded.metadata) {
            Some(origin) if origin.overlaps_val(source_hash, self.seed) => Err(Error::data(
                self.model.display(),
                format!("trained with --seed {} on images of val", origin.split_seed),
                format!("--seed {}, or --split test", origin.split_seed),
            )),
            _ => Ok(()),
        }
    }
}
