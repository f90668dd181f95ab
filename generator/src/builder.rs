//! The build loop: clean predictions and attacks, batch by batch, one transaction per batch and attack.
//! Rows that the store already has are not computed again, so that a killed build resumes.

use std::ops::Range;

use attacks::{AttackBatch, AttackKind, SplitStyles, quantize};
use base::{Error, Result, progress::Progress, signal::Stop};
use data::{Dataset, Image, Split};
use nn::{
    ComputeDevice,
    model::{Classifier, predicted_classes},
};
use store::{ImageRow, SampleRow, Shard, Writer};

use crate::start::Start;

/// Checks that an attack that transfers styles finds an image of another class in every split with images.
///
/// # Errors
/// [`Error::Data`] when all images of a split have one label.
pub fn check_styles(kinds: &[AttackKind], data: &Dataset) -> Result<()> {
    let Some(kind) = kinds.iter().find(|kind| kind.traits().needs_style) else {
        return Ok(());
    };
    for split in Split::ALL {
        let images = data.split(split);
        if let Some(first) = images
            .first()
            .filter(|first| images.iter().all(|i| i.label == first.label))
        {
            let class = &data.classes[usize::from(first.label)];
            return Err(Error::data(
                format!("images of {split}"),
                format!("only the class {class}"),
                format!(
                    "two classes at least, for {kind} takes its style from another (leave {kind} out, or take more images)"
                ),
            ));
        }
    }
    Ok(())
}

/// Advice after an interruption.
const RESUME: &str = "the same command goes on from here";

/// The inputs of a build.
pub struct Builder<'a> {
    /// Images per batch.
    pub batch_size: usize,
    /// Seed of every random number.
    pub seed: u64,
    /// The model to attack, in evaluation mode.
    pub model: &'a dyn Classifier,
    /// All images, of which the shard takes a part.
    pub data: &'a Dataset,
    /// The part to do.
    pub shard: Shard,
    /// Samples at which attacks begin.
    pub start: Option<&'a Start>,
    /// Where the model computes.
    pub device: &'a ComputeDevice,
    /// The flag of a signal, checked before every batch.
    pub stop: &'a Stop,
}

impl Builder<'_> {
    /// Ids of the shard's images in a split.
    fn ids(&self, split: Split) -> Range<u64> {
        let first = self.first_id(split);
        let part = self.shard.range(self.data.split(split).len() as u64);
        first + part.start..first + part.end
    }

    /// Ids of the shard's images in all splits, in batches.
    fn batches(&self) -> impl Iterator<Item = (Split, Range<u64>)> {
        let size = self.batch_size as u64;
        Split::ALL.into_iter().flat_map(move |split| {
            let Range { start, end } = self.ids(split);
            (start..end)
                .step_by(size as usize)
                .map(move |start| (split, start..end.min(start.saturating_add(size))))
        })
    }

    /// Number of images of the shard.
    fn len(&self) -> u64 {
        let ids = Split::ALL.map(|split| self.ids(split));
        ids.iter().map(|ids| ids.end - ids.start).sum()
    }

    fn first_id(&self, split: Split) -> u64 {
        let before = Split::ALL.into_iter().take_while(|other| *other != split);
        before
            .map(|other| self.data.split(other).len() as u64)
            .sum()
    }

    fn select(&self, split: Split, ids: &[u64]) -> Vec<&Image> {
        let first = self.first_id(split);
        let images = self.data.split(split);
        ids.iter()
            .map(|id| &images[(id - first) as usize])
            .collect()
    }

    /// Predicts and stores the clean images that are missing.
    pub fn insert_images(&self, writer: &mut Writer) -> Result<()> {
        let present = writer.images_present()?;
        let mut bar = Progress::new("clean images", self.len() - present);
        for (split, range) in self.batches() {
            let ids = writer.missing_images(range)?;
            if ids.is_empty() {
                continue;
            }
            self.stop.check(RESUME)?;
            let images = self.select(split, &ids);
            let tensor = quantize::to_tensor(&pixels_of(&images), self.device)?;
            let classes = predicted_classes(&self.model.logits(&tensor)?)?;
            let row = |((id, image), clean_pred): ((&u64, &&Image), u8)| {
                ImageRow::new(*id, split, image, clean_pred)
            };
            let rows: Vec<ImageRow> = ids.iter().zip(&images).zip(classes).map(row).collect();
            writer.insert_images(&rows)?;
            bar.add(ids.len() as u64, "");
        }
        bar.finish();
        Ok(())
    }

    /// Attacks the images and stores the samples that are missing.
    pub fn insert_samples(
        &self,
        writer: &mut Writer,
        attacks: &[(AttackKind, Box<dyn attacks::Attack>)],
    ) -> Result<()> {
        let mut missing = 0;
        for (kind, _) in attacks {
            for split in Split::ALL {
                missing += writer
                    .missing_samples(i64::from(kind.id()), self.ids(split))?
                    .len() as u64;
            }
        }
        let mut bar = Progress::new("attacks", missing);
        for (split, range) in self.batches() {
            for (kind, attack) in attacks {
                let ids = writer.missing_samples(i64::from(kind.id()), range.clone())?;
                if ids.is_empty() {
                    continue;
                }
                self.stop.check(RESUME)?;
                let rows = self.attack(*kind, attack.as_ref(), split, &ids)?;
                writer.insert_samples(&rows)?;
                bar.add(ids.len() as u64, kind.name());
            }
        }
        bar.finish();
        Ok(())
    }

    fn attack(
        &self,
        kind: AttackKind,
        attack: &dyn attacks::Attack,
        split: Split,
        ids: &[u64],
    ) -> Result<Vec<SampleRow>> {
        let images = self.select(split, ids);
        let labels: Vec<u8> = images.iter().map(|image| image.label).collect();
        let clean = pixels_of(&images);
        let styles = SplitStyles(self.data.split(split));
        let mut batch = AttackBatch::new(&clean, &labels, ids, self.seed, self.device)?;
        if let Some(start) = self.start.and_then(|start| start.of(kind, ids)) {
            batch = batch.with_start(&start)?;
        }
        let samples = attacks::generate(attack, self.model, &batch.with_styles(&styles))?;
        let attack_id = i64::from(kind.id());
        let row = |(id, sample): (&u64, _)| SampleRow::new(*id, attack_id, sample);
        Ok(std::iter::zip(ids, samples).map(row).collect())
    }
}

/// The images' bytes, one after another.
fn pixels_of(images: &[&Image]) -> Vec<u8> {
    images
        .iter()
        .flat_map(|image| image.pixels.iter().copied())
        .collect()
}
