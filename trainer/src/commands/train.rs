//! `trainer train`: a robust model, trained on draws from a store, or on its clean images under attack.

use std::path::PathBuf;

use base::{Error, Result, log, random};
use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use data::Split;
use nn::model::Origin;
use store::InMemorySplit;

use super::options::{JointOptions, PerturbationOptions, SamplingOptions, TrainingOptions};
use crate::{
    batch::BatchSource,
    config::Config,
    evaluate::{self, EvalConfig, val_was_trained_on},
    methods::{METHODS, Method, MethodInputs},
    sampler::{Sampler, Share},
    stores,
    training::{TrainingRun, folder, metadata},
};

/// `trainer train`.
#[derive(Debug, Args)]
#[command(after_help = "\
Several stores of the same images are drawn from together, as from one with the attacks of all: 1/fgsm is fgsm of the
first store. The first one's surrogate is the pretrained model, and metrics and report.json are measured on it.

Examples:
  trainer train --db cifar10.db --out runs/joint
  trainer train --db cifar10.db --out runs/strong --config recipes/strong.toml --epochs 30
  trainer train --db cifar10.db --out runs/plain --method adversarial --adv-ratio 0.25..0.75 --bounds fgsm=0.1..0.5
  trainer train --db cifar10.db --out runs/pgd-at --method pgd-at --eps 8/255 --steps 10 --lr 0.1 --schedule cosine
  trainer train --db a.db --db b.db --out runs/two --method adversarial --bounds 2/bim=0.5..1")]
pub struct Train {
    /// Path of an adversarial store, made by `generator build`; several for more stores of the same images
    #[arg(long, value_name = "DB", required = true)]
    db: Vec<PathBuf>,
    /// Training method [default: joint]
    #[arg(long, value_name = "METHOD", value_parser = methods())]
    method: Option<Method>,
    #[command(flatten)]
    options: TrainingOptions,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    joint: JointOptions,
    #[command(flatten)]
    perturbation: PerturbationOptions,
}

impl Train {
    /// Trains the model, or resumes its training, and evaluates it.
    pub fn run(self) -> Result<()> {
        let recipe = self.options.recipe()?;
        let method = match self.method {
            Some(method) => method,
            None => recipe.method()?.unwrap_or(Method::JOINT),
        };
        if !method.uses_store() {
            return Err(Error::Usage(format!(
                "the recipe's method is {}, which is that of trainer pretrain; add --method",
                method.name()
            )));
        }
        let mut base = recipe.settings(method)?;
        self.sampling.change(&mut base.sampling)?;
        self.joint.change(&mut base.joint)?;
        self.perturbation.change(&mut base)?;
        if !method.draws_samples() && self.db.len() > 1 {
            return Err(Error::Usage(format!(
                "--db: found {}, expected one: --method {} trains on clean images alone",
                self.db.len(),
                method.name()
            )));
        }
        let stores = stores::open(&self.db)?;
        let store = &stores[0];
        let (db, meta) = (self.db[0].display().to_string(), store.meta());
        let config = self.options.config(base, None)?;
        let device = self.options.open_device(&config)?;
        let surrogate = evaluate::surrogate(store, &device)?;
        let pretrained = surrogate.network.as_ref();
        let (description, normalization) = (pretrained.describe(), pretrained.normalization());
        let classes = meta.spec.classes.len();
        description.check_classes(&format!("the surrogate of {db}"), classes)?;
        let config = Config {
            db: Some(self.db[0].clone()),
            more_db: self.db[1..].to_vec(),
            data_hash: stores::hash(&stores),
            width: description.width,
            mean: normalization.map(|n| n.mean.to_string()),
            std: normalization.map(|n| n.std.to_string()),
            ..config
        };
        recipe.warn_of_other_settings(&config);
        config.check()?;
        let sampling = config.sampling.as_ref();
        let attacks = stores::attacks(&stores);
        let sampler = sampling.map(|s| Sampler::from_settings(s, config.seed, &attacks));
        let sampler = sampler.transpose()?;
        // Not those of a baseline of the same seed: against a copy of it, stored samples would not transfer but be white-box.
        let seed = random::key(config.seed, "target", &[]);
        let (target, init) =
            (self.options).initial_model(&config, seed, classes, normalization, &device)?;
        if let Some(reason) = val_was_trained_on(&init, store) {
            return Err(Error::data(
                "--init",
                reason,
                "a model that has not seen them",
            ));
        }
        if meta.images_of(Split::Train) == 0 {
            let what = format!("{db}: images of train");
            return Err(Error::data(what, "none", "images to train on"));
        }
        let train = match config.method.draws_samples() {
            true => stores::load_train(&stores)?,
            false => InMemorySplit::clean_only(store.load(Split::Train)?),
        };
        let step = config.method.build(MethodInputs {
            config: &config,
            target,
            train_images: meta.images_of(Split::Train) as usize,
            pretrained: Some(pretrained),
            device: &device,
        })?;
        let init = self.options.init.as_deref();
        let (lock, state) = folder::enter(&self.options.out, &config, init, self.options.force)?;
        if let Some(warning) = val_was_trained_on(&surrogate.metadata, store) {
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
        let share = sampling.map_or(Share::default(), |s| s.adv_ratio).middle();
        let mut run = TrainingRun {
            folder: self.options.out,
            _lock: lock,
            state,
            metadata,
            train: BatchSource::new(train, &device)?,
            val: BatchSource::new(store.load(Split::Val)?, &device)?,
            sampler,
            step,
            eval_config: EvalConfig {
                share,
                seed: meta.spec.seed,
                ..EvalConfig::default()
            },
            config,
            device,
        };
        run.train_to_end()?;
        run.evaluate(store)
    }
}

/// The methods that have a store.
fn methods() -> impl TypedValueParser<Value = Method> {
    let rows = METHODS.iter().filter(|entry| entry.uses_store);
    let values = rows.map(|entry| PossibleValue::new(entry.name).help(entry.about));
    PossibleValuesParser::new(values.collect::<Vec<_>>()).try_map(|name| name.parse::<Method>())
}
