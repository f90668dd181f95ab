//! `trainer bench`: images per second of forward passes, gradients, training steps and attacks.

use std::path::PathBuf;

use base::{
    Error, Result, log,
    output::{self, Existing, Form, Output},
};
use clap::{Args, builder::PossibleValuesParser};
use cli::{
    arguments::{not_negative, positive},
    device::DeviceArguments,
};
use nn::{
    device,
    model::{Architecture, PAPER_WIDTH},
};

use super::options::architectures;
use crate::{
    bench::{BenchInputs, BenchRow, Budget, Outcome, Workload, print, run},
    config::DEFAULT_BATCH_SIZE,
};

/// `trainer bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every workload is run once to warm up, then repeatedly. images_per_s is the batch size over the median of
the run times; spread is their interquartile range over the median. The model is a fresh one, its labels
its own predictions, so that every attack has work to do on every image; attacks have the parameters of
the preset `standard`. Each result is printed when it is there. A workload that fails, for want of memory perhaps,
is a row with the reason; the others still run, and the exit code is that of the first failure.

Examples:
  trainer bench --width 16
  trainer bench --only forward,attack_fgsm --batch-size 128 --json")]
pub struct Bench {
    /// Architecture of the models
    #[arg(long, default_value = Architecture::DEFAULT.name, value_name = "NAME", value_parser = architectures())]
    arch: String,
    /// Channels of the models' stem
    #[arg(long, default_value_t = PAPER_WIDTH, value_name = "N", value_parser = positive)]
    width: usize,
    /// Images per run
    #[arg(long, default_value_t = DEFAULT_BATCH_SIZE, value_name = "N", value_parser = positive)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArguments,
    /// Run only these workloads, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = workloads())]
    only: Vec<String>,
    /// Time to spend on each workload
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = not_negative)]
    seconds: f64,
    /// Least number of runs of each workload, however long they take
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = positive)]
    runs: usize,
    /// Print a line of JSON for each workload instead of a table; a failed one has "error"
    #[arg(long)]
    json: bool,
    /// Also write the model, the images and the labels (for scripts/bench/bench-pytorch)
    #[arg(long, value_name = "FILE.safetensors")]
    write_inputs: Option<PathBuf>,
    /// Replace that file
    #[arg(long)]
    force: bool,
}

/// A file of inputs as an output: safetensors with images and labels beside a model, as no file of weights has.
const INPUTS: output::Kind = output::Kind {
    name: "a file of bench inputs",
    form: Form::File,
    existing: Existing::Kept,
    matches: |path| {
        let start = output::beginning(path, 1 << 16)?;
        let start = String::from_utf8_lossy(&start);
        Ok(["\"images\"", "\"labels\"", "\"net."]
            .iter()
            .all(|name| start.contains(name)))
    },
};

impl Bench {
    /// Runs the workloads and prints their results.
    pub fn run(self) -> Result<()> {
        let claim = |path: &PathBuf| Output::claim(path, &INPUTS, &[], self.force);
        let output = self.write_inputs.as_ref().map(claim).transpose()?;
        let architecture = Architecture::named(&self.arch)?;
        let device = self.device.open()?;
        log::info(format_args!(
            "{} of width {} on {}, {} images per run",
            architecture.title,
            self.width,
            device::describe(&device),
            self.batch_size
        ));
        let inputs = BenchInputs::new(architecture, self.width, self.batch_size, &device)?;
        if let Some(output) = &output {
            output.write(&inputs.bytes()?)?;
        }
        let budget = Budget {
            seconds: self.seconds,
            runs: self.runs,
        };
        let selected =
            |workload: &Workload| self.only.is_empty() || self.only.contains(&workload.name());
        if !self.json {
            log::result(print::header())?;
        }
        let mut failure = None;
        for workload in Workload::all().filter(selected) {
            let outcome = match run(workload, &inputs, budget) {
                Ok(outcome) => outcome,
                Err(error @ Error::Interrupted(_)) => return Err(error),
                Err(reason) => {
                    let error = reason.to_string();
                    failure.get_or_insert(reason);
                    Outcome::Failed { error }
                }
            };
            let row = BenchRow::new(workload, &inputs, self.device.precision(), outcome);
            log::result(if self.json { row.json() } else { row.line() })?;
        }
        failure.map_or(Ok(()), Err)
    }
}

fn workloads() -> PossibleValuesParser {
    Workload::all()
        .map(Workload::name)
        .collect::<Vec<_>>()
        .into()
}
