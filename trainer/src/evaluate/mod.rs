//! Evaluation of a model on a store: accuracy per attack (the paper's Table 4), on the mixed set (Table 2) and of
//! the detector (Table 3).

mod auc;
mod mixed;
pub mod print;

use std::path::Path;

use base::{Error, Result, log};
use candle_core::Device;
use cli::normalization::NormalizationArguments;
use data::Split;
use nn::model::{
    Classifier, Detector, Loaded, Metadata, ModelDescription, Origin, Weights, predicted_classes,
};
use store::{InMemorySplit, Store};

use crate::{
    batch::BatchSource,
    folder,
    methods::DetectorContext,
    metrics::{DetectorMetrics, OrderedMap},
    report::evaluation::{Baseline, Evaluation, Mixed, Model, SplitResult, Surrogate},
};

/// A model's accuracies on a split, as parts of 1; none without images.
pub struct SplitMetrics {
    /// On clean images.
    pub clean: Option<f64>,
    /// On each attack's samples.
    pub attacks: OrderedMap<f64>,
    /// On the mixed set; none without attacks.
    pub mixed: Option<f64>,
    /// The detector's on the mixed set.
    pub detector: Option<DetectorMetrics>,
}

/// Settings of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct EvalConfig {
    /// Adversarial share of the mixed set.
    pub share: f64,
    /// Seed of the mixed set's permutation: the store's, so that all models get the same set.
    pub seed: u64,
    /// Images per batch.
    pub batch_size: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            share: 0.5,
            seed: 0,
            batch_size: 128,
        }
    }
}

/// Evaluates a model, and a detector where there is one.
pub fn evaluate_split(
    model: &dyn Classifier,
    detector: Option<DetectorContext>,
    table: &BatchSource,
    config: EvalConfig,
) -> Result<SplitMetrics> {
    let variants = 1 + table.attacks.len();
    let all: Vec<(usize, usize)> = (0..table.len())
        .flat_map(|row| (0..variants).map(move |variant| (row, variant)))
        .collect();
    let mut correct = Vec::with_capacity(all.len());
    for rows in all.chunks(config.batch_size) {
        let images = table.plain(rows)?;
        let classes = predicted_classes(&model.logits(&images)?)?;
        let labels = rows.iter().map(|&(row, _)| table.labels[row]);
        correct.extend(
            classes
                .iter()
                .zip(labels)
                .map(|(class, label)| *class == label),
        );
    }
    let is_correct = |row: usize, variant: usize| correct[row * variants + variant];
    let (clean, attacks, mixed) = accuracies(table, config, is_correct);
    let detector = detector.filter(|_| variants > 1 && !table.is_empty());
    let detector = detector
        .map(|detector| evaluate_detector(detector, table, config))
        .transpose()?;
    Ok(SplitMetrics {
        clean,
        attacks,
        mixed: mixed.filter(|_| variants > 1),
        detector,
    })
}

/// Accuracies on the clean images, on each attack's samples and on the mixed set; `is_correct` tells whether the
/// model classifies a (row, variant) correctly.
fn accuracies(
    table: &InMemorySplit,
    config: EvalConfig,
    is_correct: impl Fn(usize, usize) -> bool,
) -> (Option<f64>, OrderedMap<f64>, Option<f64>) {
    if table.is_empty() {
        return (None, OrderedMap::default(), None);
    }
    let part = |count: usize| count as f64 / table.len() as f64;
    let on = |variant: usize| {
        part(
            (0..table.len())
                .filter(|row| is_correct(*row, variant))
                .count(),
        )
    };
    let attacks = table.attacks.iter().enumerate();
    let mixed = mixed::variants(table, config.share, config.seed);
    let mixed = mixed.iter().enumerate();
    (
        Some(on(0)),
        OrderedMap(attacks.map(|(i, name)| (name.clone(), on(1 + i))).collect()),
        Some(part(
            mixed
                .filter(|(row, variant)| is_correct(*row, **variant))
                .count(),
        )),
    )
}

/// The detector's results on the mixed set.
fn evaluate_detector(
    context: DetectorContext,
    table: &BatchSource,
    config: EvalConfig,
) -> Result<DetectorMetrics> {
    let mixed = mixed::variants(table, config.share, config.seed);
    let rows: Vec<(usize, usize)> = mixed.iter().copied().enumerate().collect();
    let mut scores = Vec::with_capacity(rows.len());
    for rows in rows.chunks(config.batch_size) {
        let images = table.plain(rows)?;
        let maps = context.pretrained.features(&images)?.maps;
        let logits: Vec<Vec<f32>> = context.detector.forward(&maps, None)?.logits.to_vec2()?;
        scores.extend(logits.iter().map(|row| row[1] - row[0]));
    }
    // A sample that equals its clean image is clean.
    let attacked = (mixed.iter().enumerate()).map(|(row, variant)| table.is_changed(row, *variant));
    let attacked: Vec<bool> = attacked.collect();
    let right = scores.iter().zip(&attacked);
    let right = right.filter(|(score, attacked)| (**score > 0.0) == **attacked);
    Ok(DetectorMetrics {
        accuracy: right.count() as f64 / scores.len().max(1) as f64,
        auc: auc::roc_auc(&scores, &attacked),
    })
}

/// An evaluation of a model on a store.
pub struct Request<'a> {
    /// The classifier's file.
    pub model: &'a Path,
    /// The detector's; without it the one beside the model, if it is there.
    pub detector: Option<&'a Path>,
    /// The classifier's normalization, where its metadata lack it.
    pub normalization: NormalizationArguments,
    /// The splits.
    pub splits: &'a [Split],
    /// The settings.
    pub config: EvalConfig,
    /// The device.
    pub device: &'a Device,
}

impl Request<'_> {
    /// Evaluates the model; the surrogate's accuracies follow from the store's predictions. A detector that was
    /// trained with another surrogate is left out with a warning, and so are the surrogate's accuracies on images
    /// that it was trained on.
    ///
    /// # Errors
    /// [`Error::Data`] when `val` is requested and the model was trained on the store's `val` images.
    pub fn run(&self, store: &Store) -> Result<Evaluation> {
        let loaded = Loaded::read(self.model, self.normalization.given()?, self.device)?;
        if self.splits.contains(&Split::Val)
            && let Some(reason) = val_was_trained_on(&loaded.metadata, store)
        {
            return Err(Error::data(
                self.model.display(),
                reason,
                "a model that has not seen them (train it with the store's seed, or measure --split test)",
            ));
        }
        let description = loaded.network.describe();
        description.check_classes(&self.model.display(), store.meta().spec.classes.len())?;
        let surrogate = surrogate(store, self.device)?;
        let detector = self.detector(store, surrogate.network.describe())?;
        let pretrained = surrogate.network.eval()?;
        let context = detector.as_ref().map(|detector| DetectorContext {
            detector,
            pretrained: pretrained.as_ref(),
        });
        let model = loaded.network.eval()?;
        let surrogate_saw_val = val_was_trained_on(&surrogate.metadata, store).is_some();
        let split = |split: &Split| {
            let mut result = self.split(store, *split, model.as_ref(), context)?;
            if surrogate_saw_val && *split == Split::Val {
                result.baseline = None;
            }
            Ok(result)
        };
        let splits: Vec<SplitResult> = self.splits.iter().map(split).collect::<Result<_>>()?;
        let images: u64 = splits.iter().map(|split| split.images).sum();
        let correct = splits
            .iter()
            .filter_map(|split| Some(split.clean? * split.images as f64));
        let all = (images > 0).then(|| correct.sum::<f64>() / images as f64);
        let on_val = splits.iter().find(|split| split.split == Split::Val.name());
        let on_val = on_val.and_then(|split| split.clean);
        // The file name alone, so that a run's report does not depend on the folder's path.
        let name = self.model.file_name().unwrap_or_default().to_string_lossy();
        nn::model::warn_of_accuracy(&name, &loaded.metadata, on_val, all);
        let attacked = store.model()?;
        Ok(Evaluation {
            model: describe(&loaded),
            surrogate: Surrogate {
                name: attacked.name,
                sha256: attacked.sha256,
            },
            splits,
            warnings: log::warnings(),
        })
    }

    fn split(
        &self,
        store: &Store,
        split: Split,
        model: &dyn Classifier,
        detector: Option<DetectorContext>,
    ) -> Result<SplitResult> {
        let config = self.config;
        let table = BatchSource::new(store.load(split)?, self.device)?;
        let metrics = evaluate_split(model, detector, &table, config)?;
        let attacks = table.attacks.len();
        let (clean, baseline, mixed) = accuracies(&table, config, |row, variant| {
            let class = match variant {
                0 => table.clean_preds[row],
                _ => table.preds[row * attacks + variant - 1],
            };
            class == table.labels[row]
        });
        let unchanged = |(attack, name): (usize, &String)| {
            let equal = (0..table.len()).filter(|row| !table.is_changed(*row, 1 + attack));
            (name.clone(), equal.count() as u64)
        };
        let unchanged: Vec<(String, u64)> =
            table.attacks.iter().enumerate().map(unchanged).collect();
        Ok(SplitResult {
            split: split.name().to_string(),
            images: table.len() as u64,
            clean: metrics.clean,
            attacks: metrics.attacks,
            mixed: Mixed {
                share: config.share,
                accuracy: metrics.mixed.or(metrics.clean),
            },
            detector: metrics.detector,
            baseline: Some(Baseline {
                clean,
                attacks: baseline,
                mixed,
            }),
            unchanged: OrderedMap(unchanged),
        })
    }

    /// The requested detector, or the one beside the model, unless it was trained with another surrogate.
    fn detector(&self, store: &Store, surrogate: ModelDescription) -> Result<Option<Detector>> {
        let beside = self.model.with_file_name(folder::DETECTOR);
        let path = match self.detector {
            Some(path) => path,
            None if beside.exists() => &beside,
            None => return Ok(None),
        };
        let (weights, metadata) = Weights::read(path, self.device)?;
        let detector = Detector::new(&path.display().to_string(), weights)?;
        let width = detector.width();
        let (ours, theirs) = (store.model()?.sha256, metadata.get("pretrained_sha256"));
        let reason = match theirs {
            Some(theirs) if *theirs == ours => return Ok(Some(detector)),
            Some(theirs) => format!(
                "it was trained with the model {:.12}..., the store's is {ours:.12}...",
                theirs
            ),
            None if width != surrogate.width => format!(
                "it fits a model of width {width}, the store's has width {}",
                surrogate.width
            ),
            None => {
                log::warning(format_args!(
                    "{}: its metadata do not name the model it was trained with; its results are valid only \
                     if that is the store's",
                    path.display()
                ));
                return Ok(Some(detector));
            }
        };
        log::warning(format_args!(
            "{}: {reason}; it is left out of the tables",
            path.display()
        ));
        Ok(None)
    }
}

/// The reason why a model's accuracy on a store's `val` images is invalid: it was trained on some of them.
pub fn val_was_trained_on(metadata: &Metadata, store: &Store) -> Option<String> {
    let (origin, spec) = (Origin::of(metadata)?, &store.meta().spec);
    origin.overlaps_val(&spec.source_hash, spec.seed).then(|| {
        format!(
            "trained with --seed {} on images that the store, with --seed {}, holds out as val",
            origin.split_seed, spec.seed
        )
    })
}

/// A store's surrogate, with its normalization.
pub fn surrogate(store: &Store, device: &Device) -> Result<Loaded> {
    let model = store.model()?;
    let what = format!("the store's model {}", model.name);
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&model.config)
        .map_err(|error| Error::data(format!("{what}: config"), error, "a JSON object"))?;
    let text = |(key, value): (String, serde_json::Value)| Some((key, value.as_str()?.to_string()));
    let config = config.into_iter().filter_map(text).collect();
    Loaded::parse(&what, model.weights, config, None, device)
}

fn describe(loaded: &Loaded) -> Model {
    let description = loaded.network.describe();
    let text = |key: &str, default: &str| {
        let value = loaded.metadata.get(key);
        value.map_or(default, |value| value).to_string()
    };
    Model {
        name: description.architecture.to_string(),
        method: text("method", "unknown"),
        width: description.width,
        epoch: text("epoch", "0").parse().unwrap_or(0),
    }
}
