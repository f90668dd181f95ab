//! A training run: settings and pictures come in; nets, metrics and a checkpoint go into the run
//! folder, epoch by epoch. The same command again goes on where it stood: every random number is
//! a function of the seed, the epoch, the step and the picture, so nothing else must be kept.

mod folder;
mod start;

use std::{path::PathBuf, time::Instant};

use candle_core::Device;
use shared::{
    Error, Result, device, log, progress, random::permutation, signal::Stop, store::Store,
};

pub use self::start::{pretrain, train};
use crate::{
    batch::{Batch, Source},
    checkpoint::{self, Progress},
    config::Config,
    evaluate::{self, Measure, Measured},
    metrics::{self, EpochMetrics, Mixture, Named, ValMetrics},
    sampler::Sampler,
    step::{Seen, Step},
    totals::Totals,
};

/// Everything a run needs while it lasts.
struct Run {
    folder: PathBuf,
    config: Config,
    device: Device,
    train: Source,
    val: Source,
    /// None where every draw is clean.
    sampler: Option<Sampler>,
    step: Box<dyn Step>,
    measure: Measure,
}

impl Run {
    /// Trains to the end, from where the folder's checkpoint stands.
    fn go(&mut self) -> Result<()> {
        let batch_size = self.config.batch_size;
        self.all_epochs()
            .map_err(|error| error.of_batch(batch_size))
    }

    fn all_epochs(&mut self) -> Result<()> {
        let stop = Stop::listen()?;
        let mut at = self.resume()?;
        let epochs = self.config.epochs;
        if at.epochs == epochs {
            log::info(format_args!(
                "{}: all {epochs} epochs are done",
                self.folder.display()
            ));
            return Ok(());
        }
        let total = u64::from(epochs) * self.train.len() as u64;
        let done = u64::from(at.epochs) * self.train.len() as u64
            + at.steps * self.config.batch_size as u64;
        let mut bar = progress::Progress::new("training", total - done);
        device::say_memory(
            &self.device,
            self.config.width,
            self.config.batch_size,
            true,
        )?;
        while at.epochs < epochs {
            self.epoch(&mut at, &mut bar, &stop)?;
        }
        bar.finish();
        device::say_peak(&self.device)
    }

    /// Where the run stands, with nets, sampler and metrics put back there.
    fn resume(&mut self) -> Result<Progress> {
        let Some((at, parts)) = checkpoint::load(&self.folder, &self.device)? else {
            // A kill between the first epoch's line and its checkpoint leaves the line.
            metrics::truncate_after(&self.metrics_path(), 0)?;
            metrics::events::rewrite(&self.folder, &[])?;
            return Ok(Progress::default());
        };
        if at.epochs > self.config.epochs {
            let expected = format!("at most {}", self.config.epochs);
            let what = format!("{}: epochs done", self.folder.display());
            return Err(Error::data(what, at.epochs, expected));
        }
        let steps = self.train.len().div_ceil(self.config.batch_size) as u64;
        if at.steps >= steps {
            let what = format!("{}: steps done of an epoch", self.folder.display());
            return Err(Error::data(what, at.steps, format!("less than {steps}")));
        }
        self.step.restore(&parts)?;
        if let (Some(sampler), Some(state)) = (&mut self.sampler, &at.sampler) {
            sampler.restore(state)?;
        }
        metrics::truncate_after(&self.metrics_path(), at.epochs)?;
        let past = match at.epochs {
            0 => Vec::new(),
            _ => metrics::read(&self.metrics_path())?,
        };
        metrics::events::rewrite(&self.folder, &past)?;
        if at.epochs < self.config.epochs {
            let (epoch, steps) = (at.epochs, at.steps);
            log::info(format_args!(
                "resuming after epoch {epoch} and {steps} steps of the next"
            ));
        }
        Ok(at)
    }

    fn metrics_path(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// One epoch, or what is left of it.
    fn epoch(
        &mut self,
        at: &mut Progress,
        bar: &mut progress::Progress,
        stop: &Stop,
    ) -> Result<()> {
        let started = Instant::now();
        let (seed, epoch) = (self.config.seed, u64::from(at.epochs));
        let order = permutation(self.train.len(), seed, "order", &[epoch]);
        let batches: Vec<&[usize]> = order.chunks(self.config.batch_size).collect();
        let steps = batches.len() as u64;
        let schedule = self.config.optimizer.schedule;
        let mut factor = 0.0;
        let mut pictures = 0;
        // The step before is read when the next is under way, so that a device never waits for us.
        let mut unread: Option<(Batch, Seen)> = None;
        for rows in &batches[at.steps as usize..] {
            if let Err(stopped) = stop.check("the same command goes on from here") {
                self.note(at, unread.take(), bar)?;
                self.save(at)?;
                return Err(stopped);
            }
            let step = epoch * steps + at.steps;
            if let Some(period) = self.new_period(at, step, epoch) {
                self.note(at, unread.take(), bar)?;
                self.redraw(at, period)?;
            }
            let batch = self.draw(rows, epoch, step)?;
            factor = schedule.rate(1.0, step, steps, u64::from(self.config.epochs));
            let seen = self.step.step(&batch, factor)?;
            at.steps += 1;
            pictures += rows.len();
            self.note(at, unread.replace((batch, seen)), bar)?;
        }
        self.note(at, unread, bar)?;
        let seconds = started.elapsed().as_secs_f64();
        let measured = self.measure_val()?;
        let score = measured.mixed.unwrap_or(measured.clean);
        let best = at.best.is_none_or(|best| score > best);
        at.epochs += 1;
        if best {
            at.best = Some(score);
            folder::save_best(
                &self.folder,
                &self.config,
                self.step.as_ref(),
                at.epochs,
                score,
            )?;
        }
        let line = EpochMetrics {
            epoch: at.epochs,
            seconds: started.elapsed().as_secs_f64(),
            images_per_s: pictures as f64 / seconds.max(1e-9),
            lr: self.config.optimizer.lr * factor,
            train: at.totals.means(),
            mixture: self.mixture(&at.totals),
            val: ValMetrics {
                clean: measured.clean,
                attacks: measured.attacks,
                mixed: measured.mixed,
                detector: measured.detector,
            },
            best,
        };
        say(&line, self.config.epochs);
        metrics::append(&self.metrics_path(), &line)?;
        metrics::events::append(&self.folder, &metrics::read(&self.metrics_path())?)?;
        at.steps = 0;
        at.totals.next_epoch();
        self.save(at)
    }

    fn measure_val(&self) -> Result<Measured> {
        let step = self.step.as_ref();
        evaluate::measure(&step.net().frozen()?, step.watch(), &self.val, self.measure)
    }

    /// Adds up what a step saw.
    fn note(
        &self,
        at: &mut Progress,
        step: Option<(Batch, Seen)>,
        bar: &mut progress::Progress,
    ) -> Result<()> {
        let Some((batch, seen)) = step else {
            return Ok(());
        };
        let outcome = seen.read()?;
        at.totals
            .add(&batch, &outcome, 1 + self.train.attacks.len());
        let (epoch, loss) = (at.epochs + 1, outcome.loss);
        let said = format!("epoch {epoch}, loss {loss:.3}");
        bar.add(batch.labels.len() as u64, &said);
        Ok(())
    }

    /// The number of the period that begins before this step, if one does that is drawn anew.
    fn new_period(&self, at: &Progress, step: u64, epoch: u64) -> Option<u64> {
        self.sampler.as_ref()?;
        let every = self.config.sampling.as_ref().and_then(|s| s.redraw_every);
        let period = match every {
            None if at.steps == 0 => epoch,
            Some(every) if step.is_multiple_of(every) => step / every,
            _ => return None,
        };
        // The sampler is born with the mixture of period 0.
        (period > 0).then_some(period)
    }

    /// Draws a period's mixture.
    fn redraw(&mut self, at: &mut Progress, period: u64) -> Result<()> {
        if let Some(sampler) = &mut self.sampler {
            sampler.redraw(period, Some(&at.totals.errors_since_redraw()))?;
        }
        Ok(())
    }

    /// The pictures of a step: which variant of each, augmented.
    fn draw(&self, rows: &[usize], epoch: u64, step: u64) -> Result<Batch> {
        let variant = |row: usize| match &self.sampler {
            Some(sampler) => sampler.draw(epoch, self.train.ids[row]),
            None => 0,
        };
        let drawn: Vec<(usize, usize)> = rows.iter().map(|&row| (row, variant(row))).collect();
        let key = (self.config.seed, epoch);
        let augment = &self.config.augment;
        Ok(Batch {
            images: self.train.augmented(&drawn, augment, key)?,
            labels: rows.iter().map(|&row| self.train.labels[row]).collect(),
            variants: drawn.into_iter().map(|(_, variant)| variant).collect(),
            step,
        })
    }

    fn mixture(&self, totals: &Totals) -> Option<Mixture> {
        let sampler = self.sampler.as_ref()?;
        let (mixture, names) = (sampler.mixture(), sampler.attacks());
        let named = names.iter().cloned().zip(mixture.probabilities.clone());
        let variants = std::iter::once("clean".to_string()).chain(names.iter().cloned());
        Some(Mixture {
            share: mixture.share,
            probabilities: Named(named.collect()),
            drawn: Named(variants.zip(totals.drawn()).collect()),
        })
    }

    fn save(&self, at: &mut Progress) -> Result<()> {
        at.sampler = self.sampler.as_ref().map(Sampler::state);
        checkpoint::save(&self.folder, at, &self.step.parts()?)
    }

    /// Measures the best net of a finished run on `val` and `test`, once.
    fn evaluate(&self, store: &Store) -> Result<()> {
        folder::write_evaluation(&self.folder, store, self.measure, &self.device)
    }
}

/// One line about an epoch.
fn say(line: &EpochMetrics, epochs: u32) {
    let percent = |part: f64| format!("{:.1}%", 100.0 * part);
    let mut text = format!(
        "epoch {}/{epochs}: loss {:.3}, train {}, val clean {}",
        line.epoch,
        line.train.loss,
        percent(line.train.accuracy),
        percent(line.val.clean)
    );
    if let Some(mixed) = line.val.mixed {
        text += &format!(", mixed {}", percent(mixed));
    }
    if let Some(detector) = line.val.detector {
        text += &format!(", detector {}", percent(detector.accuracy));
    }
    let best = if line.best { ", best so far" } else { "" };
    log::info(format_args!("{text}, {:.1} s{best}", line.seconds));
}
