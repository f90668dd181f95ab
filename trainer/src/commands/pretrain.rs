//! `trainer pretrain`: the baseline, trained on clean images.

use std::path::PathBuf;

use base::{Error, Result};
use clap::Args;
use cli::normalization::NormalizationArguments;
use nn::model::{Origin, PAPER_WIDTH};

use super::options::TrainingOptions;
use crate::{
    batch::{BatchSource, clean_split},
    config::Config,
    evaluate::EvalConfig,
    methods::{Method, MethodInputs},
    training::{TrainingRun, folder, metadata},
};

/// `trainer pretrain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trainer pretrain --data cifar-10-batches-bin --out runs/baseline
  trainer pretrain --data cifar10/ --out runs/small --width 16 --limit 2000 --epochs 20 --lr 0.05 --schedule cosine")]
pub struct Pretrain {
    /// Images: CIFAR-10 or CIFAR-100, binary or Python version (folder or .tar.gz), or an image folder
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Use only N training images, a multiple of the class count and balanced over the classes, and N/5 for validation
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Channels of the model's stem
    #[arg(long, default_value_t = PAPER_WIDTH, value_name = "N")]
    width: usize,
    #[command(flatten)]
    normalization: NormalizationArguments,
    #[command(flatten)]
    options: TrainingOptions,
}

impl Pretrain {
    /// Trains the baseline, or resumes its training.
    pub fn run(self) -> Result<()> {
        let normalization = self.normalization.given()?;
        let recipe = self.options.recipe()?;
        let base = recipe.settings(Method::PRETRAIN)?;
        let config = self.options.config(base, normalization)?;
        config.check()?;
        let device = self.options.open_device(&config)?;
        let data = data::load(&self.data, config.seed, self.limit)?;
        let config = Config {
            data: Some(self.data),
            data_hash: data.source_hash.clone(),
            limit: self.limit,
            width: self.width,
            ..config
        };
        recipe.warn_of_other_settings(&config);
        let classes = data.classes.len();
        let (target, init) =
            (self.options).initial_model(&config, config.seed, classes, normalization, &device)?;
        if let Some(origin) = Origin::of(&init)
            && origin.overlaps_val(&data.source_hash, config.seed)
        {
            let found = format!("trained with --seed {}", origin.split_seed);
            let expected = format!(
                "the same --seed {}: others hold out other images",
                config.seed
            );
            return Err(Error::data("--init", found, expected));
        }
        let step = config.method.build(MethodInputs {
            config: &config,
            target,
            train_images: data.train.len(),
            pretrained: None,
            device: &device,
        })?;
        let init = self.options.init.as_deref();
        let (lock, state) = folder::enter(&self.options.out, &config, init, self.options.force)?;
        let origin = Origin {
            source_hash: data.source_hash.clone(),
            split_seed: config.seed,
        };
        let first_val_id = data.train.len() as u64;
        let mut run = TrainingRun {
            folder: self.options.out,
            _lock: lock,
            state,
            metadata: metadata(&config, &origin, normalization),
            train: BatchSource::new(clean_split(&data.train, 0), &device)?,
            val: BatchSource::new(clean_split(&data.val, first_val_id), &device)?,
            sampler: None,
            step,
            eval_config: EvalConfig {
                share: 0.0,
                seed: config.seed,
                ..EvalConfig::default()
            },
            config,
            device,
        };
        run.train_to_end()
    }
}
