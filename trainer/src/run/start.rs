//! How a run begins: the arguments of `pretrain` and `train` come in, images are read, models
//! made, the plan is printed, and the run goes.

use base::{Error, Result, log};
use candle_core::Device;
use data::Split;
use nn::{
    device,
    model::{Architecture, Detector, Metadata, Network, Normalization, Origin},
};
use store::Store;

use super::{Run, folder};
use crate::{
    arguments::{Common, Pretrain, Train},
    batch::{Source, clean_table},
    config::{Config, Joint, Method, Sampling},
    evaluate::{self, Measure},
    sampler::{self, Bounds, Sampler},
    step::{Classification, JointStep, Losses, Step},
};

/// `trainer pretrain`: the baseline.
pub fn pretrain(args: &Pretrain) -> Result<()> {
    let device = args.common.device.open()?;
    let normalization = args.normalization.given()?;
    let architecture = Architecture::named(&args.common.arch)?;
    let config = Config {
        data: Some(args.data.clone()),
        limit: args.limit,
        width: args.width,
        ..settings(Method::Pretrain, &args.common, normalization)?
    };
    config.optimizer.schedule.check(u64::from(config.epochs))?;
    let data = data::load(&args.data, config.seed, args.limit)?;
    let config = Config {
        data_hash: data.source_hash.clone(),
        ..config
    };
    let mut net = architecture.init(args.width, data.classes.len(), config.seed, &device)?;
    net.set_normalization(normalization)?;
    let step = Classification::new(net, &config.optimizer)?;
    let (lock, state) = folder::enter(&args.common.out, &config, args.common.force)?;
    let origin = Origin {
        source_hash: data.source_hash.clone(),
        split_seed: config.seed,
    };
    let mut run = Run {
        folder: args.common.out.clone(),
        _lock: lock,
        state,
        header: header(&config, &origin, normalization),
        train: Source::new(clean_table(&data.train, 0), &device)?,
        val: Source::new(clean_table(&data.val, data.train.len() as u64), &device)?,
        sampler: None,
        step: Box::new(step),
        measure: Measure {
            share: 0.0,
            seed: config.seed,
            batch_size: MEASURED_AT_ONCE,
        },
        config,
        device,
    };
    say_plan(&run);
    run.go()
}

/// `trainer train`: the robust model.
pub fn train(args: &Train) -> Result<()> {
    let device = args.common.device.open()?;
    let sampling = args.sampling.settings()?;
    let joint = args.joint.settings(args.method)?;
    let store = Store::open(&args.db)?;
    let method = Method::from(args.method);
    let surrogate = evaluate::surrogate(&store, &device)?;
    let pretrained = surrogate.network;
    let classes = store.meta().classes.len();
    let named = format!("the surrogate of {}", args.db.display());
    pretrained.describe().check_classes(&named, classes)?;
    let normalization = pretrained.normalization();
    let config = Config {
        db: Some(args.db.clone()),
        data_hash: store.meta().content_hash.clone().unwrap_or_default(),
        width: pretrained.describe().width,
        sampling: Some(sampling.clone()),
        joint,
        ..settings(method, &args.common, normalization)?
    };
    config.optimizer.schedule.check(u64::from(config.epochs))?;
    let attacks: Vec<String> = store.attacks().iter().map(|a| a.name.clone()).collect();
    let sampler = make_sampler(&sampling, config.seed, &attacks)?;
    let step = make_step(&config, pretrained.as_ref(), &device)?;
    if store.meta().images_of(Split::Train) == 0 {
        let what = format!("{}: images of train", args.db.display());
        return Err(Error::data(what, "none", "images to train on"));
    }
    let (lock, state) = folder::enter(&args.common.out, &config, args.common.force)?;
    if let Some(warning) = evaluate::val_was_trained_on(&surrogate.metadata, &store) {
        log::warning(format_args!(
            "{}: its surrogate was {warning}; its accuracies on val are left out of the tables",
            args.db.display()
        ));
    }
    let origin = Origin {
        source_hash: store.meta().source_hash.clone(),
        split_seed: store.meta().seed,
    };
    let mut header = header(&config, &origin, normalization);
    header.insert("pretrained_sha256".into(), store.model()?.sha256);
    let mut run = Run {
        folder: args.common.out.clone(),
        _lock: lock,
        state,
        header,
        train: Source::new(store.load(Split::Train)?, &device)?,
        val: Source::new(store.load(Split::Val)?, &device)?,
        sampler: Some(sampler),
        step,
        measure: Measure {
            share: sampling.adv_ratio.middle(),
            seed: store.meta().seed,
            batch_size: MEASURED_AT_ONCE,
        },
        config,
        device,
    };
    say_plan(&run);
    run.go()?;
    run.evaluate(&store)
}

/// Images per batch where nothing is learned.
const MEASURED_AT_ONCE: usize = 128;

/// What the headers of a run's models say beside their score.
fn header(config: &Config, origin: &Origin, normalization: Option<Normalization>) -> Metadata {
    let mut header = Metadata::from([
        ("method".into(), config.method.name().into()),
        ("seed".into(), config.seed.to_string()),
        ("data_hash".into(), config.data_hash.clone()),
        ("code_version".into(), config.version.clone()),
    ]);
    origin.write(&mut header);
    if let Some(normalization) = normalization {
        normalization.write(&mut header);
    }
    header
}

/// What all methods share; the rest is filled in by the caller.
fn settings(
    method: Method,
    common: &Common,
    normalization: Option<Normalization>,
) -> Result<Config> {
    Ok(Config {
        method,
        data: None,
        db: None,
        data_hash: String::new(),
        limit: None,
        version: env!("CARGO_PKG_VERSION").to_string(),
        seed: common.seed,
        arch: common.arch.clone(),
        width: 0,
        mean: normalization.map(|n| n.mean.to_string()),
        std: normalization.map(|n| n.std.to_string()),
        epochs: common.epochs,
        batch_size: common.batch_size,
        augment: common.augment,
        precision: common.device.precision,
        optimizer: common.optimizer()?,
        sampling: None,
        joint: None,
    })
}

fn make_sampler(sampling: &Sampling, seed: u64, attacks: &[String]) -> Result<Sampler> {
    let bounds = Bounds::parse(&sampling.bounds, attacks)?;
    let options = sampler::Options { eta: sampling.eta };
    let policy = sampler::policy(&sampling.policy, options)?;
    Ok(Sampler::new(seed, sampling.adv_ratio, bounds, policy))
}

fn make_step(config: &Config, pretrained: &dyn Network, device: &Device) -> Result<Box<dyn Step>> {
    let classes = pretrained.describe().classes;
    let architecture = Architecture::named(&config.arch)?;
    let mut target = architecture.init(config.width, classes, config.seed, device)?;
    target.set_normalization(pretrained.normalization())?;
    let optimizer = &config.optimizer;
    let Some(joint) = config.joint else {
        return Ok(Box::new(Classification::new(target, optimizer)?));
    };
    let Joint {
        detector_input,
        detector_layers,
        ..
    } = joint;
    let detector = Detector::init(
        detector_input,
        config.width,
        detector_layers,
        config.seed,
        device,
    )?;
    let losses = Losses {
        joint,
        seed: config.seed,
    };
    let step = JointStep::new(pretrained.eval()?, target, detector, optimizer, losses)?;
    Ok(Box::new(step))
}

/// What will happen, before it does.
fn say_plan(run: &Run) {
    let Config {
        method,
        epochs,
        batch_size,
        seed,
        ..
    } = &run.config;
    let (train, val) = (run.train.len(), run.val.len());
    log::info(format_args!(
        "{} on {}: {train} training and {val} validation images, {epochs} epochs of {} steps \
         of {batch_size}, {}, seed {seed}, into {}",
        method.name(),
        device::describe(&run.device),
        train.div_ceil(*batch_size),
        run.step.net().describe(),
        run.folder.display()
    ));
    if let (Some(sampling), Some(sampler)) = (&run.config.sampling, &run.sampler) {
        log::info(format_args!(
            "draws: adversarial share {}, policy {}, of {}",
            sampling.adv_ratio,
            sampling.policy,
            sampler.attacks().join(", ")
        ));
    }
}
