//! Draws of a training: the batch of a step, a variant of each image, and the mixture that the variants are drawn
//! from.

use base::Result;

use super::TrainingRun;
use crate::{
    batch::TrainBatch,
    checkpoint::RunProgress,
    metrics::{MixtureMetrics, OrderedMap},
    totals::Totals,
};

impl TrainingRun {
    /// The redraw period that begins with the next step, of `steps` in an epoch; none where the mixture stays. Periods are those
    /// of the whole schedule, as epochs are: a run that goes on with another's weights draws other mixtures.
    pub(super) fn redraw_period(&self, progress: &RunProgress, steps: u64) -> Option<u64> {
        self.sampler.as_ref()?;
        let epoch = self.config.optimizer.schedule.start + u64::from(progress.epochs);
        let step = epoch * steps + progress.steps;
        let is_first = (progress.epochs, progress.steps) == (0, 0);
        let every = self.config.sampling.as_ref().and_then(|s| s.redraw_every);
        let period = match every {
            None if progress.steps == 0 => epoch,
            Some(every) if is_first || step.is_multiple_of(every) => step / every,
            _ => return None,
        };
        // A new sampler has the mixture of period 0.
        (period > 0).then_some(period)
    }

    /// Redraws the sampler's mixture.
    pub(super) fn redraw(&mut self, progress: &mut RunProgress, period: u64) -> Result<()> {
        if let Some(sampler) = &mut self.sampler {
            sampler.redraw(period, progress.totals.take_error_rates().as_deref())?;
        }
        Ok(())
    }

    /// The batch of a step, which has these numbers in the run and in the whole schedule: a variant of each image, augmented.
    pub(super) fn draw_batch(
        &self,
        rows: &[usize],
        epoch: u64,
        [step, schedule_step]: [u64; 2],
    ) -> Result<TrainBatch> {
        let variant = |row: usize| match &self.sampler {
            Some(sampler) => sampler.draw(epoch, self.train.ids[row]),
            None => 0,
        };
        let drawn: Vec<(usize, usize)> = rows.iter().map(|&row| (row, variant(row))).collect();
        let key = (self.config.seed, epoch);
        let (images, windows) = self.train.augmented(&drawn, &self.config.augment, key)?;
        Ok(TrainBatch {
            images,
            windows,
            labels: rows.iter().map(|&row| self.train.labels[row]).collect(),
            attacked: (drawn.iter())
                .map(|&(row, variant)| self.train.is_changed(row, variant))
                .collect(),
            variants: drawn.into_iter().map(|(_, variant)| variant).collect(),
            ids: rows.iter().map(|&row| self.train.ids[row]).collect(),
            rows: rows.to_vec(),
            epoch,
            step,
            schedule_step,
        })
    }

    pub(super) fn mixture(&self, totals: &Totals) -> Option<MixtureMetrics> {
        let sampler = self.sampler.as_ref()?;
        let (mixture, names) = (sampler.mixture(), sampler.attacks());
        let named = names.iter().cloned().zip(mixture.probabilities.clone());
        let variants = std::iter::once("clean".to_string()).chain(names.iter().cloned());
        Some(MixtureMetrics {
            share: mixture.share,
            probabilities: OrderedMap(named.collect()),
            drawn: OrderedMap(variants.zip(totals.drawn()).collect()),
        })
    }
}
