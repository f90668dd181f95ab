//! A training run: settings and images come in; models, metrics and a checkpoint go into the run
//! folder, epoch by epoch. The same command again goes on where it stood: every random number is
//! a function of the seed, the epoch, the step and the image, so nothing else must be kept.

mod diverged;
mod folder;
mod start;

use cli::normalization::NormalizationArguments;
use std::{path::PathBuf, time::Instant};

use base::{Error, Result, files, lock::Lock, log, progress, random::permutation, signal::Stop};
use candle_core::Device;
use data::Split;
use nn::{device, model::Metadata};
use store::Store;

pub use self::start::{pretrain, train};
use crate::{
    batch::{Source, TrainBatch},
    checkpoint::{self, Progress},
    config::Config,
    evaluate::{self, Measure, Measured},
    folder::{BEST, DIVERGED, METRICS, REPORT, State},
    metrics::{self, EpochMetrics, Mixture, Named, ValMetrics},
    sampler::Sampler,
    step::{Seen, Step},
    totals::Totals,
};

/// Everything a run needs while it lasts.
struct Run {
    folder: PathBuf,
    /// Held so that nobody else trains in the folder.
    _lock: Lock,
    /// What the folder was when it was entered.
    state: State,
    config: Config,
    /// What the headers of the saved models say beside their score.
    header: Metadata,
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
        let mut at = Progress::default();
        self.all_epochs(&mut at).map_err(|error| {
            diverged::explain(error, &self.folder, self.config.optimizer.lr, &at)
                .of_batch(batch_size)
        })
    }

    fn all_epochs(&mut self, at: &mut Progress) -> Result<()> {
        let stop = Stop::listen()?;
        let epochs = self.config.epochs;
        if self.state != State::FinishedWithoutCheckpoints {
            *at = self.resume()?;
        }
        if at.epochs == epochs || self.state == State::FinishedWithoutCheckpoints {
            log::info(format_args!(
                "{}: all {epochs} epochs are done",
                self.folder.display()
            ));
            return Ok(());
        }
        if self.val.is_empty() {
            log::warning(
                "val has no images: nothing is measured, and the best model is the one of the lowest training \
                 loss; a --limit of 50 or more gives val images",
            );
        }
        let total = u64::from(epochs) * self.train.len() as u64;
        let done = u64::from(at.epochs) * self.train.len() as u64
            + at.steps * self.config.batch_size as u64;
        let mut bar = progress::Progress::new("training", total - done);
        let activations = self.step.net().activation_count(true);
        device::log_memory(&self.device, activations, self.config.batch_size)?;
        while at.epochs < epochs {
            self.epoch(at, &mut bar, &stop)?;
        }
        bar.finish();
        device::log_peak_memory(&self.device)
    }

    /// Where the run stands, with models, sampler and metrics put back there.
    fn resume(&mut self) -> Result<Progress> {
        let Some((mut at, parts)) = checkpoint::load(&self.folder, &self.device)? else {
            // A kill between the first epoch's line and its checkpoint leaves the line.
            metrics::resume_after(&self.metrics_path(), 0)?;
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
        let past = metrics::resume_after(&self.metrics_path(), at.epochs)?;
        metrics::events::rewrite(&self.folder, &past)?;
        let missing = crate::folder::missing_model(&self.folder, self.config.joint.is_some());
        if let Some(name) = missing.filter(|_| at.best.is_some()) {
            log::warning(format_args!(
                "{}: {name} is missing; the best model of the epochs that are still to come takes its place",
                self.folder.display()
            ));
            at.best = None;
        }
        if at.epochs < self.config.epochs {
            let (epoch, steps) = (at.epochs, at.steps);
            log::info(format_args!(
                "resuming after epoch {epoch} and {steps} steps of the next"
            ));
        }
        Ok(at)
    }

    fn metrics_path(&self) -> PathBuf {
        self.folder.join(METRICS)
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
        let mut unread: Option<(TrainBatch, Seen)> = None;
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
        let train = at.totals.means();
        let accuracy = measured.mixed.or(measured.clean);
        let score = accuracy.unwrap_or(-train.loss);
        let best = at.best.is_none_or(|best| score > best);
        let epoch = at.epochs + 1;
        if best {
            at.best = Some(score);
            let score = folder::Score {
                epoch,
                accuracy,
                clean: measured.clean,
            };
            folder::save_best(&self.folder, &self.header, self.step.as_ref(), &score)?;
        }
        let line = EpochMetrics {
            epoch,
            seconds: started.elapsed().as_secs_f64(),
            images_per_s: pictures as f64 / seconds.max(1e-9),
            lr: self.config.optimizer.lr * factor,
            train,
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
        at.epochs = epoch;
        at.steps = 0;
        at.totals.next_epoch();
        self.save(at)
    }

    fn measure_val(&self) -> Result<Measured> {
        let step = self.step.as_ref();
        let model = step.net().eval()?;
        evaluate::measure(model.as_ref(), step.watch(), &self.val, self.measure)
    }

    /// Adds up what a step saw.
    fn note(
        &self,
        at: &mut Progress,
        step: Option<(TrainBatch, Seen)>,
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
            sampler.redraw(period, Some(&at.totals.take_error_rates()))?;
        }
        Ok(())
    }

    /// The images of a step: which variant of each, augmented.
    fn draw(&self, rows: &[usize], epoch: u64, step: u64) -> Result<TrainBatch> {
        let variant = |row: usize| match &self.sampler {
            Some(sampler) => sampler.draw(epoch, self.train.ids[row]),
            None => 0,
        };
        let drawn: Vec<(usize, usize)> = rows.iter().map(|&row| (row, variant(row))).collect();
        let key = (self.config.seed, epoch);
        let augment = &self.config.augment;
        Ok(TrainBatch {
            images: self.train.augmented(&drawn, augment, key)?,
            labels: rows.iter().map(|&row| self.train.labels[row]).collect(),
            attacked: (drawn.iter())
                .map(|&(row, variant)| self.train.is_changed(row, variant))
                .collect(),
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
        checkpoint::save(&self.folder, at, &self.step.parts()?)?;
        // It went on where it had diverged.
        files::remove(&self.folder.join(DIVERGED))
    }

    /// Measures the best models of a finished run on `val` and `test` and writes `report.json`, unless it is
    /// there.
    fn evaluate(&self, store: &Store) -> Result<()> {
        let path = self.folder.join(REPORT);
        if path.exists() {
            return Ok(());
        }
        let request = evaluate::Request {
            model: &self.folder.join(BEST),
            detector: None,
            normalization: NormalizationArguments::default(),
            splits: &[Split::Val, Split::Test],
            measure: self.measure,
            device: &self.device,
        };
        let evaluation = request.run(store)?;
        let text = serde_json::to_vec_pretty(&evaluation)
            .map_err(|reason| Error::data(path.display(), reason, "numbers that JSON can hold"))?;
        files::write_whole(&path, &text)
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
        line.val.clean.map_or("–".into(), percent)
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
