//! A running evaluation of robustness: fills the tables of its shard and, when all are complete, writes the result.

use base::{Error, Result, log};
use nn::{
    ComputeDevice,
    model::{Detector, Loaded, Metadata},
};
use robustness::Target;

use super::{
    attacked, defended,
    defended::Guard,
    folder::{self, Folder},
    images::Selection,
    request::RobustRequest,
    sanity::{self, Evidence},
    summary::{self, CleanVerdict, Robustness},
    table::{self, Keys},
};
use crate::{
    evaluate::{FPR_PERCENT, describe_model, thresholds},
    metrics::OrderedMap,
};

/// A detector with the pretrained model.
pub struct Guarding {
    /// The detector.
    pub detector: Detector,
    /// Its metadata.
    pub metadata: Metadata,
    /// The pretrained model.
    pub pretrained: Loaded,
    /// SHA-256 of both files.
    pub sha256: [String; 2],
}

/// The parts of a running evaluation.
pub struct ShardEvaluation<'a> {
    /// What was asked for.
    pub request: &'a RobustRequest,
    /// The model under attack.
    pub target: &'a Target<'a>,
    /// The images.
    pub selection: &'a Selection,
    /// The output folder.
    pub folder: &'a Folder,
    /// The model's file.
    pub loaded: &'a Loaded,
}

impl ShardEvaluation<'_> {
    /// Does the shard's part; the result, unless other shards are still to be done.
    pub fn run(
        &self,
        guarding: Option<&Guarding>,
        device: &ComputeDevice,
        poll: &dyn Fn() -> Result<()>,
    ) -> Result<Option<Robustness>> {
        let (request, settings) = (self.request, self.folder.settings());
        let batch_size = request.batch_size;
        let part = request.shard.range(self.selection.images.len() as u64);
        let part = part.start as usize..part.end as usize;
        let classes = self.clean_classes()?;
        let keys = self.keys(&classes, None);
        let columns = attacked::columns(settings);
        {
            let (_lock, mut table) = self.folder.table("images", &keys, &columns)?;
            let how = (self.target, settings, batch_size);
            attacked::fill(&mut table, &keys, self.selection, part.clone(), how)?;
        }

        let pretrained = guarding
            .map(|guarding| guarding.pretrained.network.eval())
            .transpose()?;
        let guard = guarding
            .zip(pretrained.as_deref())
            .map(|(guarding, pretrained)| Guard {
                pretrained,
                detector: &guarding.detector,
            });
        let defended = match guard {
            None => None,
            Some(guard) => {
                let images = &self.selection.images;
                let val = guard.scores(
                    "scores of val",
                    self.target,
                    &self.selection.val,
                    batch_size,
                )?;
                let wrong = |reason: String| Error::invalid("the detector's thresholds", reason);
                let thresholds = thresholds(&val).map_err(wrong)?.try_into();
                let thresholds: [f32; FPR_PERCENT.len()] =
                    thresholds.map_err(|found: Vec<f32>| wrong(format!("found {found:?}")))?;
                let scores =
                    guard.scores("scores of clean images", self.target, images, batch_size)?;
                let keys = self.keys(&classes, Some(&scores));
                let columns = defended::columns();
                let (_lock, mut table) = self.folder.table("detector", &keys, &columns)?;
                // An image that is accepted at 5 % false positives is accepted at 1 %, too.
                let defense = (guard, thresholds[1]);
                let how = (self.target, settings, batch_size);
                defended::fill(&mut table, &keys, self.selection, part, how, defense)?;
                Some((thresholds, scores, keys, columns))
            }
        };

        let Some(rows) = self.folder.all_rows("images", &keys, &columns)? else {
            log::info("this shard is done; the last one to finish writes the result");
            return Ok(None);
        };
        let correct: Vec<bool> = classes
            .iter()
            .zip(&self.selection.images)
            .map(|(class, image)| *class == image.label)
            .collect();
        let mut defense = None;
        if let Some((thresholds, scores, keys, columns)) = &defended {
            let Some(rows) = self.folder.all_rows("detector", keys, columns)? else {
                log::info("this shard is done; the last one to finish writes the result");
                return Ok(None);
            };
            let clean: Vec<CleanVerdict> = correct
                .iter()
                .zip(scores)
                .map(|(&correct, &score)| CleanVerdict { correct, score })
                .collect();
            let result = summary::defense(settings, *thresholds, &clean, (columns, &rows));
            let text = table::text(keys, columns, &rows);
            self.folder.write(folder::DETECTOR, text.as_bytes())?;
            defense = Some((result, columns, rows));
        }
        let results = summary::results(settings, &rows);
        let first: Vec<usize> = (0..settings.sanity).collect();
        let batch = self.selection.batch(&first);
        let natural = pretrained
            .as_deref()
            .map(|model| Target::new(model, device, poll));
        let sanity = sanity::run(&Evidence {
            target: self.target,
            batch: &batch,
            settings,
            results: &results,
            rows: &rows,
            defense: defense
                .as_ref()
                .map(|(result, columns, rows)| (result, columns.as_slice(), rows)),
            natural: natural.as_ref(),
        })?;
        self.folder.write(
            folder::IMAGES,
            table::text(&keys, &columns, &rows).as_bytes(),
        )?;
        let count = correct.iter().filter(|correct| **correct).count();
        let given = [
            ("steps", settings.steps),
            ("restarts", settings.restarts),
            ("queries", settings.queries),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, value)| Some((name.into(), u64::from(value?))));
        let result = Robustness {
            model: describe_model(self.loaded),
            model_sha256: settings.model_sha256.clone(),
            norm: settings.norm,
            split: settings.split.clone(),
            images: settings.images,
            seed: settings.seed,
            changed: OrderedMap(given.collect()),
            clean: count as f64 / settings.images as f64,
            results,
            detector: defense.map(|(result, _, _)| result),
            sanity,
        };
        self.folder.finish(&result)?;
        Ok(Some(result))
    }

    /// The model's classes of the clean images.
    fn clean_classes(&self) -> Result<Vec<u8>> {
        let positions: Vec<usize> = (0..self.selection.images.len()).collect();
        let mut classes = Vec::with_capacity(positions.len());
        for chunk in positions.chunks(self.request.batch_size) {
            let batch = self.selection.batch(chunk);
            let logits = self
                .target
                .logits(&batch.clean, &batch.ids, &batch.labels)?;
            classes.extend(logits.iter().map(|row| attacks::logits::argmax(row)));
        }
        Ok(classes)
    }

    /// What identifies rows: the image with its clean prediction, and its clean score where there is a detector.
    fn keys(&self, classes: &[u8], scores: Option<&[f32]>) -> Keys {
        let score = |position: usize| scores.map_or(String::new(), |s| format!(",{}", s[position]));
        let images = self.selection.images.iter().zip(classes).enumerate();
        let key = |(position, (image, class)): (usize, (&data::Image, &u8))| {
            let (split, score) = (self.selection.split, score(position));
            format!(
                "{split},{},{},{class}{score}",
                image.source_index, image.label
            )
        };
        let header = match scores {
            None => "split,source_index,label,clean_pred",
            Some(_) => "split,source_index,label,clean_pred,clean_score",
        };
        Keys {
            header: header.into(),
            images: images.map(key).collect(),
            budgets: self
                .folder
                .settings()
                .eps
                .iter()
                .map(|eps| eps.value().to_string())
                .collect(),
        }
    }
}
