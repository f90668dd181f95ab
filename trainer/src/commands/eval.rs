//! `trainer eval`: accuracies of a model on a store's samples.

use std::path::PathBuf;

use base::{Error, Result, log};
use clap::Args;
use cli::{
    arguments::{Parsed, part, positive},
    device::DeviceArguments,
    normalization::NormalizationArguments,
};
use data::Split;
use store::Store;

use crate::{
    evaluate::{EvalConfig, EvalRequest, print},
    folder,
};

/// `trainer eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
The samples were made against the store's surrogate: for any other model the accuracies are after transfer
attacks.

Examples:
  trainer eval --db cifar10.db --model runs/joint/best.safetensors
  trainer eval --db cifar10.db --model runs/joint/best.safetensors --split test --json")]
pub struct Eval {
    /// Path of the adversarial store
    #[arg(long, value_name = "DB")]
    db: PathBuf,
    /// Weights of the classifier
    #[arg(long, value_name = "W")]
    model: PathBuf,
    #[command(flatten)]
    normalization: NormalizationArguments,
    /// Weights of the detector [default: detector.safetensors beside the model, if there]
    #[arg(long, value_name = "W")]
    detector: Option<PathBuf>,
    /// Split to evaluate on: val or test [default: both]
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Adversarial share of the mixed set
    #[arg(long, default_value_t = EvalConfig::default().share, value_name = "R", value_parser = part)]
    adv_ratio: f64,
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
        let device = self.device.open()?;
        let store = Store::open(&self.db)?;
        if let Some(warning) = folder::unfinished_model(&self.model) {
            log::warning(warning);
        }
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
            device: &device,
        };
        let evaluation = request.run(&store).map_err(|error| {
            error
                .of_batch(self.batch_size)
                .found_in(&self.model.display())
        })?;
        if self.json {
            let text = serde_json::to_string_pretty(&evaluation).map_err(|reason| {
                Error::data("evaluation", reason, "numbers that JSON can hold")
            })?;
            log::result(text)
        } else {
            log::result(print::text(&evaluation))
        }
    }
}

fn split(text: &str) -> Parsed<Split> {
    match text {
        "val" => Ok(Split::Val),
        "test" => Ok(Split::Test),
        _ => Err("a model is evaluated on val or test".into()),
    }
}
