//! `generator build`: the command line of a build, and its steps from the inputs to a complete store.

use std::path::PathBuf;

use attacks::AttackKind;
use base::{Error, Result, log, output, signal::Stop};
use clap::Args;
use cli::{
    arguments::positive, device::DeviceArguments, normalization::NormalizationArguments,
    shard::ShardChoice,
};
use nn::{Precision, device, model::Loaded};
use store::{Shard, Writer};

use super::attacks::AttackParameters;
use crate::{
    builder::{self, Builder},
    spec,
    start::Start,
    warnings,
};

/// `generator build`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  generator build --data cifar-10-batches-bin --model runs/baseline/best.safetensors --out cifar10.db
  generator build --data cifar10/ --model public.safetensors --mean 0.4914,0.4822,0.4465 \\
      --std 0.2023,0.1994,0.2010 --preset standard --attacks fgsm,bim --limit 2000 --out small.db
  generator build --data cifar10/ --model best.safetensors --shard 3/8 --out part-3.db
  generator build --data cifar10/ --model runs/round-1/best.safetensors --preset standard --attacks pgd \\
      --start round-0.db --out round-1.db")]
pub struct Build {
    /// Images: CIFAR-10 or CIFAR-100, binary or Python version (folder or .tar.gz), or an image folder
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Weights of the model to attack (PyTorch's names), such as best.safetensors of a baseline
    #[arg(long, value_name = "W.safetensors")]
    model: PathBuf,
    #[command(flatten)]
    normalization: NormalizationArguments,
    /// Output store; an unfinished one with the same settings is resumed
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    #[command(flatten)]
    parameters: AttackParameters,
    /// Attacks to run, such as fgsm,cw; all: the six of the paper. Others run only when named
    #[arg(long, default_value = "all", value_name = "A,B")]
    attacks: String,
    /// Begin iterative attacks (bim, pgd) at this store's samples of the same attack, or of its only one
    #[arg(long, value_name = "DB")]
    start: Option<PathBuf>,
    /// Use only N training images, a multiple of the class count and balanced over the classes, and N/5 of val and test each
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Build only the I-th of N shards, for `generator merge`; slurm: the shard of this Slurm array task
    #[arg(long, value_name = "I/N|slurm")]
    shard: Option<ShardChoice>,
    /// Images per batch; changes speed and memory, never the result
    #[arg(long, default_value_t = 128, value_name = "N", value_parser = positive)]
    batch_size: usize,
    /// Seed of every random number
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    device: DeviceArguments,
    /// Remove an existing store and build it again
    #[arg(long)]
    force: bool,
}

impl Build {
    /// Builds the store, or the rows that are missing in it.
    pub fn run(self) -> Result<()> {
        if self.device.precision() == Precision::Bf16 {
            let advice = "attacks look for small differences: take f32 or tf32";
            return Err(Error::Usage(format!("--precision bf16: {advice}")));
        }
        let mut inputs = vec![self.data.as_path(), self.model.as_path()];
        inputs.extend(self.parameters.attacks_config.as_deref());
        inputs.extend(self.start.as_deref());
        let out = output::check(&self.out, &store::OUTPUT, &inputs, self.force)?;
        let device = self.device.open()?;
        let config = self.parameters.load()?;
        let kinds = self.kinds()?;
        let shard = self.shard.map_or(Ok(Shard::WHOLE), ShardChoice::resolve)?;
        let loaded = Loaded::read(&self.model, self.normalization.given()?, &device)?;
        let data = data::load(&self.data, self.seed, self.limit)?;
        let description = loaded.network.describe();
        description.check_classes(&self.model.display(), data.classes.len())?;
        builder::check_styles(&kinds, &data)?;
        let start = self.start.as_deref();
        let start = start.map(|path| Start::read(path, &kinds, &data, self.seed, self.limit));
        let start = start.transpose()?;
        let model = spec::surrogate(&loaded);
        let spec = spec::Inputs {
            seed: self.seed,
            preset: self.parameters.preset,
            limit: self.limit,
            config: &config,
            kinds: &kinds,
            data: &data,
            shard,
            start: start.as_ref().map(|start| start.hash.as_str()),
        }
        .spec(model);
        let (network, metadata) = (loaded.network, loaded.metadata);
        let stop = Stop::listen()?;
        if self.force {
            Writer::remove(&out)?;
        }
        let mut writer = Writer::create_or_resume(&out, &spec, &device::describe(&device))?;
        if writer.is_complete() {
            log::info(format_args!("{}: already complete", self.out.display()));
            return Ok(());
        }
        let part = match shard {
            Shard::WHOLE => String::new(),
            part => format!(", shard {part}"),
        };
        log::info(format_args!(
            "building {} on {}{part}: {} images, attacks {} ({}), against {description}, seed {}",
            self.out.display(),
            device::describe(&device),
            spec.image_count(),
            kinds
                .iter()
                .map(|kind| kind.name())
                .collect::<Vec<_>>()
                .join(", "),
            self.parameters.preset,
            self.seed,
        ));
        device::log_memory(&device, network.activation_count(false), self.batch_size)?;
        let model = network.eval()?;
        let builder = Builder {
            batch_size: self.batch_size,
            seed: self.seed,
            model: model.as_ref(),
            data: &data,
            shard,
            start: start.as_ref(),
            device: &device,
            stop: &stop,
        };
        let locate = |error: Error| {
            let error = error.of_batch(self.batch_size);
            error.found_in(&self.model.display())
        };
        warnings::check_seed(&self.model, &metadata, &data, self.seed);
        builder.insert_images(&mut writer).map_err(locate)?;
        warnings::check_accuracy(&self.model, &metadata, &writer.store().counts()?);
        let attacks: Vec<_> = kinds
            .iter()
            .map(|kind| (*kind, config.build(*kind)))
            .collect();
        builder
            .insert_samples(&mut writer, &attacks)
            .map_err(locate)?;
        device::log_peak_memory(&device)?;
        warnings::check_unchanged(&writer.store().summary()?);
        writer.add_warnings(&log::warnings())?;
        let hash = writer.finish()?;
        log::info(format_args!(
            "{}: complete, content hash {hash}",
            self.out.display()
        ));
        Ok(())
    }

    /// The attacks to run, in the order of their ids.
    fn kinds(&self) -> Result<Vec<AttackKind>> {
        if self.attacks == "all" {
            return Ok(AttackKind::paper());
        }
        let mut kinds = self
            .attacks
            .split(',')
            .map(|name| name.trim().parse())
            .collect::<std::result::Result<Vec<AttackKind>, String>>()
            .map_err(|reason| Error::Usage(format!("--attacks {}: {reason}", self.attacks)))?;
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }
}
