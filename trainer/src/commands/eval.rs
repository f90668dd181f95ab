//! `trainer eval`: accuracies of a model on a store's samples, on arrays, or on corrupted images.

use std::path::{Path, PathBuf};

use base::{Error, Result, log};
use clap::Args;
use cli::{
    arguments::{part, positive},
    device::DeviceArguments,
    normalization::NormalizationArguments,
};
use data::Split;
use nn::ComputeDevice;
use serde::Serialize;
use store::Store;

use super::options::evaluated_split;
use super::shift_options::{Images, ShiftOptions, SourceArguments};
use crate::{
    evaluate::{
        EvalConfig, EvalRequest, print,
        shift::{CleanImages, ShiftRequest},
    },
    folder,
};

/// `trainer eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
The samples of a store were made against its surrogate: for any other model the accuracies are after
transfer attacks. Corruptions are those of CIFAR-10-C; with --data, those that can be are computed.

Examples:
  trainer eval --db cifar10.db --model runs/joint/best.safetensors
  trainer eval --db cifar10.db --model runs/joint/best.safetensors --split test --json
  trainer eval --images cifar10.1_v6_data.npy --labels cifar10.1_v6_labels.npy --model w.safetensors
  trainer eval --cifar10-c CIFAR-10-C --model runs/joint/best.safetensors --json
  trainer eval --data cifar-10-batches-bin --corruptions all --limit 1000 --model w.safetensors
  trainer eval --data cifar-10-batches-bin --corruptions contrast,fog --severity 3,5 --model w.safetensors")]
pub struct Eval {
    #[command(flatten)]
    source: SourceArguments,
    /// Weights of the classifier
    #[arg(long, value_name = "W")]
    model: PathBuf,
    #[command(flatten)]
    normalization: NormalizationArguments,
    /// Weights of the detector [default: detector.safetensors beside the model, if there]
    #[arg(long, value_name = "W", conflicts_with_all = ["images", "cifar10_c", "data"])]
    detector: Option<PathBuf>,
    /// Split to evaluate on: val or test [default: both with --db, test with --data]
    #[arg(long, value_name = "SPLIT", value_parser = evaluated_split, conflicts_with_all = ["images", "cifar10_c"])]
    split: Option<Split>,
    /// Adversarial share of the mixed set
    #[arg(long, default_value_t = EvalConfig::default().share, value_name = "R", value_parser = part,
        conflicts_with_all = ["images", "cifar10_c", "data"])]
    adv_ratio: f64,
    #[command(flatten)]
    shift: ShiftOptions,
    /// Images per batch
    #[arg(long, default_value_t = EvalConfig::default().batch_size, value_name = "N", value_parser = positive)]
    batch_size: usize,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArguments,
}

impl Eval {
    /// Evaluates the model and prints the result.
    pub fn run(self) -> Result<()> {
        let source = self.source.chosen(&self.shift)?;
        let device = self.device.open()?;
        match source {
            Images::Store(db) => self.on_store(db, &device),
            Images::Arrays(images, labels) => {
                let result = self.shifted(&device).arrays(images, labels);
                let result = result.map_err(|error| self.context(error))?;
                self.print(&result, || result.text())
            }
            Images::Cifar10C(folder) => {
                let result = self.shifted(&device).cifar10_c(folder);
                let result = result.map_err(|error| self.context(error))?;
                self.print(&result, || result.text())
            }
            Images::Data(data, corruptions, severities) => {
                let split = self.split.unwrap_or(Split::Test);
                let images = CleanImages { data, split };
                let request = self.shifted(&device);
                let result = request.computed(&images, &corruptions, &severities);
                let result = result.map_err(|error| self.context(error))?;
                self.print(&result, || result.text())
            }
        }
    }

    /// The request of an evaluation under distribution shift.
    fn shifted<'a>(&'a self, device: &'a ComputeDevice) -> ShiftRequest<'a> {
        self.warn_of_unfinished();
        ShiftRequest {
            model: &self.model,
            normalization: self.normalization,
            limit: self.shift.limit,
            seed: self.shift.seed,
            batch_size: self.batch_size,
            device,
        }
    }

    fn on_store(&self, db: &Path, device: &ComputeDevice) -> Result<()> {
        let store = Store::open(db)?;
        self.warn_of_unfinished();
        let splits = self
            .split
            .map_or(vec![Split::Val, Split::Test], |split| vec![split]);
        let request = EvalRequest {
            model: &self.model,
            detector: self.detector.as_deref(),
            normalization: self.normalization,
            splits: &splits,
            config: EvalConfig {
                share: self.adv_ratio,
                seed: store.meta().spec.seed,
                batch_size: self.batch_size,
            },
            device,
        };
        let evaluation = request.run(&store).map_err(|error| self.context(error))?;
        self.print(&evaluation, || print::text(&evaluation))
    }

    fn warn_of_unfinished(&self) {
        if let Some(warning) = folder::unfinished_model(&self.model) {
            log::warning(warning);
        }
    }

    /// The error with the batch size and the model that it is about.
    fn context(&self, error: Error) -> Error {
        error
            .of_batch(self.batch_size)
            .found_in(&self.model.display())
    }

    fn print(&self, evaluation: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            let text = serde_json::to_string_pretty(evaluation).map_err(|reason| {
                Error::data("evaluation", reason, "numbers that JSON can hold")
            })?;
            log::result(text)
        } else {
            log::result(text())
        }
    }
}
