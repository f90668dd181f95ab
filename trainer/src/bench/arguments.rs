//! The command line of `trainer bench`.

use std::path::PathBuf;

use clap::{Args, builder::PossibleValuesParser};
use cli::{
    arguments::{not_negative, positive},
    device::DeviceArguments,
};
use nn::model::{Architecture, PAPER_WIDTH};

use super::work::Work;
use crate::arguments::architectures;

/// `trainer bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every measurement is run once to warm up, then again and again. images_per_s is the batch size over
the median of the seconds a run took; spread is how far their quartiles lie apart, as a part of that
median. The model is a fresh one, its labels its own predictions, so that every attack has work to do
on every image; attacks have the parameters of the preset `standard`.")]
pub struct Bench {
    /// Architecture of the models
    #[arg(long, default_value = Architecture::DEFAULT.name, value_name = "NAME", value_parser = architectures())]
    pub arch: String,
    /// Channels of the models' stem
    #[arg(long, default_value_t = PAPER_WIDTH, value_name = "N", value_parser = positive)]
    pub width: usize,
    /// Images per run
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = positive)]
    pub batch_size: usize,
    #[command(flatten)]
    pub device: DeviceArguments,
    /// Measure only these, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names())]
    pub only: Vec<String>,
    /// Run each for so long
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = not_negative)]
    pub seconds: f64,
    /// And at least so often, however long that takes
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = positive)]
    pub runs: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Also write the model, the images and the labels (for scripts/bench/bench-pytorch)
    #[arg(long, value_name = "FILE.safetensors")]
    pub write_inputs: Option<PathBuf>,
    /// Replace that file
    #[arg(long)]
    pub force: bool,
}

fn names() -> PossibleValuesParser {
    Work::all().map(Work::name).collect::<Vec<_>>().into()
}
