//! `trainer train`: a robust model, trained on draws from a store.

use std::path::PathBuf;

use base::{Error, Result, log};
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use data::Split;
use nn::model::{Architecture, Origin};
use store::Store;

use super::options::{JointOptions, SamplingOptions, TrainingOptions};
use crate::{
    batch::BatchSource,
    config::Config,
    evaluate::{self, EvalConfig},
    methods::{METHODS, Method, MethodInputs},
    sampler::Sampler,
    training::{TrainingRun, folder, metadata},
};

/// `trainer train`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trainer train --db cifar10.db --out runs/joint
  trainer train --db cifar10.db --out runs/plain --method adversarial --adv-ratio 0.25..0.75 --bounds fgsm=0.1..0.5")]
pub struct Train {
    /// Path of the adversarial store, made by `generator build`
    #[arg(long, value_name = "DB")]
    db: PathBuf,
    /// Training method
    #[arg(long, value_name = "METHOD", default_value = "joint", value_parser = methods())]
    method: Method,
    #[command(flatten)]
    options: TrainingOptions,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    joint: JointOptions,
}

impl Train {
    /// Trains the model, or resumes its training, and evaluates it.
    pub fn run(self) -> Result<()> {
        let device = self.options.device.open()?;
        let sampling = self.sampling.settings()?;
        let joint = self.joint.settings(self.method)?;
        let store = Store::open(&self.db)?;
        let (db, meta) = (self.db.display().to_string(), store.meta());
        let surrogate = evaluate::surrogate(&store, &device)?;
        let pretrained = surrogate.network.as_ref();
        let (description, normalization) = (pretrained.describe(), pretrained.normalization());
        let classes = meta.spec.classes.len();
        description.check_classes(&format!("the surrogate of {db}"), classes)?;
        let config = Config {
            db: Some(self.db),
            data_hash: meta.content_hash.clone().unwrap_or_default(),
            width: description.width,
            sampling: Some(sampling.clone()),
            joint,
            ..self.options.config(self.method, normalization)?
        };
        let attacks: Vec<String> = store.attacks().iter().map(|a| a.name.clone()).collect();
        let sampler = Sampler::from_settings(&sampling, config.seed, &attacks)?;
        let architecture = Architecture::named(&config.arch)?;
        let mut target = architecture.init(config.width, classes, config.seed, &device)?;
        target.set_normalization(normalization)?;
        let step = config.method.build(MethodInputs {
            config: &config,
            target,
            pretrained: Some(pretrained),
            device: &device,
        })?;
        if meta.images_of(Split::Train) == 0 {
            let what = format!("{db}: images of train");
            return Err(Error::data(what, "none", "images to train on"));
        }
        let (lock, state) = folder::enter(&self.options.out, &config, self.options.force)?;
        if let Some(warning) = evaluate::val_was_trained_on(&surrogate.metadata, &store) {
            log::warning(format_args!(
                "{db}: its surrogate was {warning}; its accuracies on val are left out of the tables"
            ));
        }
        let origin = Origin {
            source_hash: meta.spec.source_hash.clone(),
            split_seed: meta.spec.seed,
        };
        let mut metadata = metadata(&config, &origin, normalization);
        metadata.insert("pretrained_sha256".into(), store.model()?.sha256);
        let mut run = TrainingRun {
            folder: self.options.out,
            _lock: lock,
            state,
            metadata,
            train: BatchSource::new(store.load(Split::Train)?, &device)?,
            val: BatchSource::new(store.load(Split::Val)?, &device)?,
            sampler: Some(sampler),
            step,
            eval_config: EvalConfig {
                share: sampling.adv_ratio.middle(),
                seed: meta.spec.seed,
                ..EvalConfig::default()
            },
            config,
            device,
        };
        run.train_to_end()?;
        run.evaluate(&store)
    }
}

/// The methods that draw from a store.
fn methods() -> impl TypedValueParser<Value = Method> {
    let rows = METHODS.iter().filter(|entry| entry.uses_store);
    let values = rows.map(|entry| PossibleValue::new(entry.name).help(entry.about));
    PossibleValuesParser::new(values.collect::<Vec<_>>()).try_map(|name| name.parse::<Method>())
}
