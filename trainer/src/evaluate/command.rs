//! `trainer eval`: a store and a net's weights come in, what it is worth is printed.

use std::path::PathBuf;

use clap::Args;
use shared::{
    Error, Result,
    arguments::{Parsed, part, positive},
    cifar10::Split,
    device::DeviceArguments,
    log,
    store::Store,
};

use super::{Measure, evaluate, print, read_detector, read_net, surrogate};
use crate::step::Watch;

/// `trainer eval`.
#[derive(Debug, Args)]
pub struct Eval {
    /// The adversarial store
    #[arg(long, value_name = "DB")]
    db: PathBuf,
    /// The classifier's weights
    #[arg(long, value_name = "W")]
    model: PathBuf,
    /// The detector's weights [default: detector.safetensors beside the model, if there]
    #[arg(long, value_name = "W")]
    detector: Option<PathBuf>,
    /// Only this split [default: val and test]
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Adversarial share of the mixed set
    #[arg(long, default_value_t = 0.5, value_name = "R", value_parser = part)]
    adv_ratio: f64,
    /// Pictures per batch
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = positive)]
    batch_size: usize,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArguments,
}

impl Eval {
    /// Measures the net and prints the result.
    pub fn run(&self) -> Result<()> {
        let device = self.device.open()?;
        let store = Store::open(&self.db)?;
        let (net, model) = read_net(&self.model, &device)?;
        let beside = self.model.with_file_name("detector.safetensors");
        let detector = match &self.detector {
            Some(path) => Some(read_detector(path, &device)?),
            None if beside.exists() => Some(read_detector(&beside, &device)?),
            None => None,
        };
        let pretrained = surrogate(&store, &device)?.frozen()?;
        let watch = detector.as_ref().map(|detector| Watch {
            detector,
            pretrained: &pretrained,
        });
        let splits = self
            .split
            .map_or(vec![Split::Val, Split::Test], |split| vec![split]);
        let how = Measure {
            share: self.adv_ratio,
            seed: store.meta().seed,
            batch_size: self.batch_size,
        };
        let evaluation = evaluate(&store, &splits, model, &net, watch, how, &device)?;
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
        _ => Err("a net is measured on val or test".into()),
    }
}
