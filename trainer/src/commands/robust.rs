//! `trainer robust`: accuracy of a model under white-box, black-box and adaptive attacks.

use std::path::PathBuf;

use base::{Error, Result, log};
use clap::{ArgGroup, Args};
use cli::{
    arguments::{Parsed, choice, positive},
    device::DeviceArguments,
    normalization::NormalizationArguments,
    shard::ShardChoice,
};
use data::Split;
use nn::Precision;
use robustness::{EvaluationAttack, Norm, Settings};
use store::Shard;

use super::options::evaluated_split;
use crate::{
    eps::Budgets,
    robust::{self, Files, ImageSource, RobustRequest},
};

/// `trainer robust`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source").required(true).args(["data", "db"]),
    after_help = "\
The attacks see the model itself (white-box), and with a detector also attack both together (adaptive).
The folder gets robust.json, images.csv and, with a detector, detector.csv.

Examples:
  trainer robust --model runs/joint/best.safetensors --db cifar10.db --limit 1000
  trainer robust --model runs/joint/best.safetensors --data cifar-10-batches-bin --eps 1/255,2/255,4/255,8/255 \\
      --attacks pgd --restarts 5 --out runs/joint/curve
  trainer robust --model best.safetensors --data cifar10/ --norm l2 --shard 3/8"
)]
pub struct Robust {
    /// Weights of the classifier
    #[arg(long, value_name = "W")]
    model: PathBuf,
    /// Images: CIFAR-10 or CIFAR-100, binary or Python version (folder or .tar.gz), or an image folder
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Or the clean images of an adversarial store
    #[arg(long, value_name = "DB")]
    db: Option<PathBuf>,
    /// Output folder; an unfinished evaluation in it with the same settings is resumed [default: robust beside the model]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Remove another evaluation in the folder
    #[arg(long)]
    force: bool,
    /// Attacks in their order, such as pgd,apgd-ce; autoattack: apgd-ce,apgd-t,fab-t,square
    #[arg(long, default_value = "autoattack", value_name = "A,B", value_parser = attacks, help = attacks_help())]
    attacks: Attacks,
    /// Norm of perturbations
    #[arg(long, default_value_t = Norm::Linf, value_name = "NORM", value_parser = choice::<Norm>())]
    norm: Norm,
    /// Largest perturbation in [0,1] units, or several for a curve [default: 8/255, or 0.5 for l2]
    #[arg(long, value_name = "E,F", allow_hyphen_values = true)]
    eps: Option<Budgets>,
    /// Steps of gradient attacks [default: each attack's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: Option<u32>,
    /// Random restarts of gradient attacks [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    restarts: Option<u32>,
    /// Queries of square [default: 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queries: Option<u32>,
    /// Split of the images: val or test
    #[arg(long, default_value = "test", value_name = "SPLIT", value_parser = evaluated_split)]
    split: Split,
    /// Attack only N images, a seeded choice
    #[arg(long, value_name = "N", value_parser = positive)]
    limit: Option<usize>,
    /// Seed of every random number
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Images per batch; changes speed and memory, never the result
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = positive)]
    batch_size: usize,
    /// Attack only the I-th of N shards of the images; slurm: the shard of this Slurm array task
    #[arg(long, value_name = "I/N|slurm")]
    shard: Option<ShardChoice>,
    /// Weights of the detector [default: detector.safetensors beside the model, if there]
    #[arg(long, value_name = "W")]
    detector: Option<PathBuf>,
    /// Weights of the model whose feature maps the detector sees [default: the surrogate of the run's store]
    #[arg(long, value_name = "W")]
    pretrained: Option<PathBuf>,
    /// Evaluate the classifier alone
    #[arg(long, conflicts_with_all = ["detector", "pretrained"])]
    without_detector: bool,
    /// Images of the sanity checks; 0 for none
    #[arg(long, default_value_t = 100, value_name = "N")]
    sanity: usize,
    #[command(flatten)]
    normalization: NormalizationArguments,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArguments,
}

impl Robust {
    /// Evaluates the model, or goes on, and prints the result.
    pub fn run(self) -> Result<()> {
        if self.device.precision() != Precision::F32 {
            return Err(Error::Usage(format!(
                "--precision {}: robustness is measured in f32",
                self.device.precision()
            )));
        }
        let source = match (self.data, self.db) {
            (Some(data), _) => ImageSource::Data(data),
            (None, Some(db)) => ImageSource::Store(db),
            (None, None) => return Err(Error::Usage("--data or --db is needed".into())),
        };
        let device = self.device.open()?;
        let usual = Budgets::usual(self.norm).map_err(Error::Usage)?;
        let name = self.model.display().to_string();
        let request = RobustRequest {
            out: self.out.unwrap_or_else(|| robust::default_out(&self.model)),
            files: Files {
                model: self.model,
                detector: self.detector,
                pretrained: self.pretrained,
                without_detector: self.without_detector,
            },
            normalization: self.normalization,
            source,
            split: self.split,
            limit: self.limit,
            attacks: self.attacks.0,
            norm: self.norm,
            eps: self.eps.unwrap_or(usual),
            settings: Settings {
                steps: self.steps,
                restarts: self.restarts,
                queries: self.queries,
                seed: self.seed,
            },
            sanity: self.sanity,
            batch_size: self.batch_size,
            shard: self.shard.map_or(Ok(Shard::WHOLE), ShardChoice::resolve)?,
            force: self.force,
        };
        let result = request
            .run(&device)
            .map_err(|error| error.of_batch(self.batch_size).found_in(&name))?;
        match result {
            None => Ok(()),
            Some(result) if self.json => {
                let text = serde_json::to_string_pretty(&result).map_err(|reason| {
                    Error::data("result", reason, "numbers that JSON can hold")
                })?;
                log::result(text)
            }
            Some(result) => log::result(robust::text(&result)),
        }
    }
}

/// The chosen attacks.
#[derive(Clone, Debug)]
struct Attacks(Vec<&'static EvaluationAttack>);

fn attacks(text: &str) -> Parsed<Attacks> {
    robust::attacks(text).map(Attacks)
}

fn attacks_help() -> String {
    let lines = robustness::ATTACKS
        .iter()
        .map(|attack| format!("{}: {}", attack.name, attack.about));
    let lines: Vec<String> = lines.collect();
    format!(
        "Attacks in their order, separated by commas; autoattack: {}. {}",
        robustness::AUTOATTACK.join(","),
        lines.join("; ")
    )
}
