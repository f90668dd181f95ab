//! Training loop: epochs of steps, validation, metrics and checkpoints in a run folder. A resumed run equals the
//! uninterrupted one bit for bit on the CPU, since every random number is a function of the seed, the epoch, the
//! step and the image.

mod atta_store;
mod diverged;
mod draws;
pub mod folder;
mod log;
mod overfitting;
mod robust_val;
mod selection;

use std::{path::PathBuf, time::Instant};

use base::{
    Error, Result, files,
    lock::Lock,
    log::{info, warning},
    progress::Progress,
    random::permutation,
    signal::Stop,
};
use cli::normalization::NormalizationArguments;
use data::Split;
use nn::{ComputeDevice, ReadbackQueue, device, model::Metadata};
use store::Store;

pub use self::folder::metadata;
use self::{robust_val::RobustAccuracy, selection::Accuracies};
use crate::{
    batch::{BatchSource, TrainBatch},
    checkpoint::{self, RunProgress},
    config::Config,
    evaluate::{self, EvalConfig, SplitMetrics},
    folder::{BEST, DIVERGED, METRICS, REPORT, RunState},
    methods::{PendingOutput, Perturbations, Step},
    metrics::{self, EpochMetrics, ValMetrics},
    sampler::Sampler,
};

/// A run: its folder, data, models and settings.
pub struct TrainingRun {
    /// The run folder.
    pub folder: PathBuf,
    /// Keeps other programs out of the folder.
    pub _lock: Lock,
    /// State of the folder before this run.
    pub state: RunState,
    /// Its settings.
    pub config: Config,
    /// Metadata of the saved models, without their accuracy.
    pub metadata: Metadata,
    /// Device of models and images.
    pub device: ComputeDevice,
    /// Training images.
    pub train: BatchSource,
    /// Validation images.
    pub val: BatchSource,
    /// The sampler; none where every draw is clean.
    pub sampler: Option<Sampler>,
    /// Models and optimizers.
    pub step: Box<dyn Step>,
    /// Settings of the evaluation after each epoch.
    pub eval_config: EvalConfig,
}

impl TrainingRun {
    /// Trains to the last epoch, from the folder's checkpoint on.
    pub fn train_to_end(&mut self) -> Result<()> {
        log::log_plan(self);
        let batch_size = self.config.batch_size;
        let mut progress = RunProgress::default();
        self.train_epochs(&mut progress).map_err(|error| {
            diverged::explain(error, &self.folder, self.config.optimizer.lr, &progress)
                .of_batch(batch_size)
        })
    }

    fn train_epochs(&mut self, progress: &mut RunProgress) -> Result<()> {
        let stop = Stop::listen()?;
        let epochs = self.config.epochs;
        if self.state != RunState::FinishedWithoutCheckpoints {
            *progress = self.resume()?;
        }
        if progress.epochs == epochs || self.state == RunState::FinishedWithoutCheckpoints {
            info(format_args!(
                "{}: all {epochs} epochs are done",
                self.folder.display()
            ));
            return Ok(());
        }
        if self.val.is_empty() {
            warning(
                "val has no images: nothing is measured, and the best model is the one of the lowest training \
                 loss; more images, or a larger --limit, give val images",
            );
        }
        let total = u64::from(epochs) * self.train.len() as u64;
        let done = u64::from(progress.epochs) * self.train.len() as u64
            + progress.steps * self.config.batch_size as u64;
        let mut bar = Progress::new("training", total - done);
        let activations = self.step.model().activation_count(true);
        device::log_memory(&self.device, activations, self.config.batch_size)?;
        while progress.epochs < epochs {
            self.train_epoch(progress, &mut bar, &stop)?;
        }
        bar.finish();
        device::log_peak_memory(&self.device)
    }

    /// Restores models, sampler and metrics from the checkpoint.
    fn resume(&mut self) -> Result<RunProgress> {
        let Some((mut progress, parts)) = checkpoint::load(&self.folder, &self.device)? else {
            // After a kill between the first epoch's line and its checkpoint.
            metrics::resume_after(&self.metrics_path(), 0)?;
            metrics::events::rewrite(&self.folder, &[])?;
            return Ok(RunProgress::default());
        };
        if progress.epochs > self.config.epochs {
            let expected = format!("at most {}", self.config.epochs);
            let what = format!("{}: epochs done", self.folder.display());
            return Err(Error::data(what, progress.epochs, expected));
        }
        let steps = self.train.len().div_ceil(self.config.batch_size) as u64;
        if progress.steps >= steps {
            let what = format!("{}: steps done of an epoch", self.folder.display());
            return Err(Error::data(
                what,
                progress.steps,
                format!("less than {steps}"),
            ));
        }
        self.step.restore(&parts.weights)?;
        if let Some(perturbations) = self.step.perturbations_mut() {
            perturbations.restore(parts.perturbations.as_deref().unwrap_or_default())?;
        }
        if let (Some(sampler), Some(state)) = (&mut self.sampler, &progress.sampler) {
            sampler.restore(state)?;
        }
        let past = metrics::resume_after(&self.metrics_path(), progress.epochs)?;
        metrics::events::rewrite(&self.folder, &past)?;
        let missing = crate::folder::missing_model(&self.folder, self.config.joint.is_some());
        if let Some(name) = missing.filter(|_| progress.best.is_some()) {
            warning(format_args!(
                "{}: {name} is missing; the best model of the epochs that are still to come takes its place",
                self.folder.display()
            ));
            progress.best = None;
        }
        if progress.epochs < self.config.epochs {
            let (epoch, steps) = (progress.epochs, progress.steps);
            info(format_args!(
                "resuming after epoch {epoch} and {steps} steps of the next"
            ));
        }
        Ok(progress)
    }

    fn metrics_path(&self) -> PathBuf {
        self.folder.join(METRICS)
    }

    /// Trains, evaluates and saves one epoch, or its remaining steps.
    fn train_epoch(
        &mut self,
        progress: &mut RunProgress,
        bar: &mut Progress,
        stop: &Stop,
    ) -> Result<()> {
        let started = Instant::now();
        let (seed, epoch) = (self.config.seed, u64::from(progress.epochs));
        // Of the whole schedule: a run that goes on with another's weights shows them other crops in another order.
        let epoch_of_all = self.config.optimizer.schedule.start + epoch;
        let order = permutation(self.train.len(), seed, "order", &[epoch_of_all]);
        let batches: Vec<&[usize]> = order.chunks(self.config.batch_size).collect();
        let steps = batches.len() as u64;
        let schedule = self.config.optimizer.schedule;
        let mut lr_factor = 0.0;
        let mut images = 0;
        // A step's output is read while the next step is under way, so that the device never idles.
        let readback = ReadbackQueue::new(&self.device)?;
        let mut pending: Option<(TrainBatch, PendingOutput)> = None;
        for rows in &batches[progress.steps as usize..] {
            if let Err(stopped) = stop.check("the same command goes on from here") {
                self.add_to_totals(progress, pending.take(), bar)?;
                progress.totals.seconds += started.elapsed().as_secs_f64();
                self.save(progress)?;
                return Err(stopped);
            }
            let step = epoch * steps + progress.steps;
            let schedule_step = epoch_of_all * steps + progress.steps;
            if let Some(period) = self.redraw_period(progress, steps) {
                self.add_to_totals(progress, pending.take(), bar)?;
                self.redraw(progress, period)?;
            }
            let batch = self.draw_batch(rows, epoch_of_all, [step, schedule_step])?;
            lr_factor = schedule.rate(1.0, step, steps, u64::from(self.config.epochs));
            let output = self.step.step(&batch, lr_factor)?;
            let output = output.start_reading(&readback)?;
            progress.steps += 1;
            images += rows.len();
            self.add_to_totals(progress, pending.replace((batch, output)), bar)?;
        }
        self.add_to_totals(progress, pending, bar)?;
        let seconds = started.elapsed().as_secs_f64();
        let (on_val, robust) = self.evaluate_val()?;
        overfitting::check(progress, robust);
        let train = progress.totals.means();
        let accuracies = Accuracies {
            clean: on_val.clean,
            mixed: on_val.mixed,
            robust,
        };
        let robust = robust.map(|robust| robust.accuracy);
        let score = selection::score(self.config.select, accuracies).unwrap_or(-train.loss);
        let best = progress.best.is_none_or(|best| score > best);
        let epoch = progress.epochs + 1;
        if best {
            progress.best = Some(score);
            let score = folder::Score {
                epoch,
                accuracy: on_val.mixed.or(on_val.clean),
                clean: on_val.clean,
                robust,
            };
            folder::save_best(&self.folder, &self.metadata, self.step.as_ref(), &score)?;
        }
        let line = EpochMetrics {
            epoch,
            seconds: progress.totals.seconds + started.elapsed().as_secs_f64(),
            images_per_s: images as f64 / seconds.max(1e-9),
            lr: self.config.optimizer.lr * lr_factor,
            train,
            mixture: self.mixture(&progress.totals),
            val: ValMetrics {
                clean: on_val.clean,
                attacks: on_val.attacks,
                mixed: on_val.mixed,
                robust,
                detector: on_val.detector,
            },
            best,
        };
        log::log_epoch(&line, self.config.epochs);
        metrics::append(&self.metrics_path(), &line)?;
        metrics::events::append(&self.folder, &metrics::read(&self.metrics_path())?)?;
        progress.epochs = epoch;
        progress.steps = 0;
        progress.totals.next_epoch();
        self.save(progress)
    }

    /// The evaluated model's results on `val`, and its accuracy under attack there.
    fn evaluate_val(&self) -> Result<(SplitMetrics, Option<RobustAccuracy>)> {
        let step = self.step.as_ref();
        let model = step.evaluated().eval()?;
        let model = model.as_ref();
        let metrics = evaluate::evaluate_split(model, step.detector(), &self.val, self.eval_config);
        let attack = self.config.robust_val.as_ref();
        let robust = attack.map(|attack| {
            robust_val::accuracy(model, &self.device, &self.val, attack, self.config.seed)
        });
        Ok((metrics?, robust.transpose()?.flatten()))
    }

    /// Reads a step's output and adds it to the totals.
    fn add_to_totals(
        &self,
        progress: &mut RunProgress,
        step: Option<(TrainBatch, PendingOutput)>,
        bar: &mut Progress,
    ) -> Result<()> {
        let Some((batch, output)) = step else {
            return Ok(());
        };
        let step_metrics = output.read()?;
        progress
            .totals
            .add(&batch, &step_metrics, 1 + self.train.attacks.len());
        let (epoch, loss) = (progress.epochs + 1, step_metrics.loss);
        let message = format!("epoch {epoch}, loss {loss:.3}");
        bar.add(batch.labels.len() as u64, &message);
        Ok(())
    }

    fn save(&self, progress: &mut RunProgress) -> Result<()> {
        progress.sampler = self.sampler.as_ref().map(Sampler::state);
        let perturbations = self.step.perturbations().map(Perturbations::bytes);
        checkpoint::save(&self.folder, progress, &self.step.parts()?, perturbations)?;
        // The run is past the point where it diverged.
        files::remove(&self.folder.join(DIVERGED))
    }

    /// Evaluates the best models on `val` and `test` and writes `report.json`, unless it exists; likewise the store of
    /// perturbations that the method kept.
    pub fn evaluate(&self, store: &Store) -> Result<()> {
        let checkpointed = self.state != RunState::FinishedWithoutCheckpoints;
        if let Some(perturbations) = self.step.perturbations().filter(|_| checkpointed) {
            let best = self.folder.join(BEST);
            let model = (best.as_path(), &self.device);
            atta_store::write(&self.folder, &self.config, perturbations, store, model)?;
        }
        let path = self.folder.join(REPORT);
        if path.exists() {
            return Ok(());
        }
        let request = evaluate::EvalRequest {
            model: &self.folder.join(BEST),
            detector: None,
            normalization: NormalizationArguments::default(),
            splits: &[Split::Val, Split::Test],
            config: self.eval_config,
            device: &self.device,
        };
        let evaluation = request.run(store)?;
        let text = serde_json::to_vec_pretty(&evaluation)
            .map_err(|reason| Error::data(path.display(), reason, "numbers that JSON can hold"))?;
        files::write_whole(&path, &text)
    }
}
