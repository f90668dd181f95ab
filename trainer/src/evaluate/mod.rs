//! Measuring: a model, perhaps a detector, and a table of images come in; accuracies per attack
//! (the paper's Table 4), on the mixed set (Table 2) and of the detector (Table 3) go out.

mod auc;
mod command;
mod mixed;
mod print;

pub use command::Eval;

use cli::normalization::NormalizationArguments;
use std::path::Path;

use base::{Error, Result, log};
use candle_core::Device;
use data::Split;
use nn::model::{
    Classifier, Detector, Loaded, Metadata, ModelDescription, Origin, Weights, predicted_classes,
};
use store::{InMemorySplit, Store};

use crate::{
    batch::Source,
    folder,
    metrics::{DetectorMetrics, Named},
    report::evaluation::{Baseline, Evaluation, Mixed, Model, SplitResult, Surrogate},
    step::Watch,
};

/// What a split says of a model. Accuracies are parts of 1; there are none of no images.
pub struct Measured {
    /// On clean images.
    pub clean: Option<f64>,
    /// On each attack's samples.
    pub attacks: Named<f64>,
    /// On the mixed set; none without attacks.
    pub mixed: Option<f64>,
    /// The detector's on the mixed set.
    pub detector: Option<DetectorMetrics>,
}

/// How a split is measured.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Adversarial share of the mixed set.
    pub share: f64,
    /// Seed of the mixed set's permutation: the store's, so that all models get the same set.
    pub seed: u64,
    /// Images per batch.
    pub batch_size: usize,
}

/// Measures a model, and a detector where there is one.
pub fn measure(
    net: &dyn Classifier,
    watch: Option<Watch>,
    table: &Source,
    how: Measure,
) -> Result<Measured> {
    let variants = 1 + table.attacks.len();
    let all: Vec<(usize, usize)> = (0..table.len())
        .flat_map(|row| (0..variants).map(move |variant| (row, variant)))
        .collect();
    let mut right = Vec::with_capacity(all.len());
    for rows in all.chunks(how.batch_size) {
        let images = table.plain(rows)?;
        let classes = predicted_classes(&net.logits(&images)?)?;
        let labels = rows.iter().map(|&(row, _)| table.labels[row]);
        right.extend(
            classes
                .iter()
                .zip(labels)
                .map(|(class, label)| *class == label),
        );
    }
    let is_right = |row: usize, variant: usize| right[row * variants + variant];
    let (clean, attacks, mixed) = accuracies(table, how, is_right);
    let detector = match watch.filter(|_| variants > 1 && !table.is_empty()) {
        Some(watch) => Some(detect(watch, table, how)?),
        None => None,
    };
    Ok(Measured {
        clean,
        attacks,
        mixed: mixed.filter(|_| variants > 1),
        detector,
    })
}

/// Accuracies on the clean images, on each attack's variants and on the mixed set, given which
/// (row, variant) a model is right about.
fn accuracies(
    table: &InMemorySplit,
    how: Measure,
    is_right: impl Fn(usize, usize) -> bool,
) -> (Option<f64>, Named<f64>, Option<f64>) {
    if table.is_empty() {
        return (None, Named::default(), None);
    }
    let part = |count: usize| count as f64 / table.len() as f64;
    let on = |variant: usize| {
        part(
            (0..table.len())
                .filter(|row| is_right(*row, variant))
                .count(),
        )
    };
    let attacks = table.attacks.iter().enumerate();
    let mixed = mixed::variants(table, how.share, how.seed);
    let mixed = mixed.iter().enumerate();
    (
        Some(on(0)),
        Named(attacks.map(|(i, name)| (name.clone(), on(1 + i))).collect()),
        Some(part(
            mixed
                .filter(|(row, variant)| is_right(*row, **variant))
                .count(),
        )),
    )
}

/// The detector's results on the mixed set.
fn detect(watch: Watch, table: &Source, how: Measure) -> Result<DetectorMetrics> {
    let mixed = mixed::variants(table, how.share, how.seed);
    let rows: Vec<(usize, usize)> = mixed.iter().copied().enumerate().collect();
    let mut scores = Vec::with_capacity(rows.len());
    for rows in rows.chunks(how.batch_size) {
        let images = table.plain(rows)?;
        let maps = watch.pretrained.features(&images)?.maps;
        let logits: Vec<Vec<f32>> = watch.detector.forward(&maps, None)?.logits.to_vec2()?;
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

/// What is to be measured on a store.
pub struct Request<'a> {
    /// The classifier's file.
    pub model: &'a Path,
    /// The detector's; without it the one beside the model, if it is there.
    pub detector: Option<&'a Path>,
    /// The classifier's normalization, where its header does not say it.
    pub normalization: NormalizationArguments,
    /// On which splits.
    pub splits: &'a [Split],
    /// How.
    pub measure: Measure,
    /// Where.
    pub device: &'a Device,
}

impl Request<'_> {
    /// Measures the model, beside the surrogate, whose predictions the store holds. A detector that was made
    /// for another surrogate is left out with a warning, and so are the surrogate's accuracies on images that
    /// it was trained on.
    ///
    /// # Errors
    /// [`Error::Data`] when the model was trained on the store's `val` images and these are asked for.
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
        description.check_classes(&self.model.display(), store.meta().classes.len())?;
        let surrogate = surrogate(store, self.device)?;
        let detector = self.detector(store, surrogate.network.describe())?;
        let pretrained = surrogate.network.eval()?;
        let watch = detector.as_ref().map(|detector| Watch {
            detector,
            pretrained: pretrained.as_ref(),
        });
        let net = loaded.network.eval()?;
        let seen = val_was_trained_on(&surrogate.metadata, store).is_some();
        let split = |split: &Split| {
            let mut result = self.split(store, *split, net.as_ref(), watch)?;
            if seen && *split == Split::Val {
                result.baseline = None;
            }
            Ok(result)
        };
        let splits: Vec<SplitResult> = self.splits.iter().map(split).collect::<Result<_>>()?;
        let images: u64 = splits.iter().map(|split| split.images).sum();
        let right = splits
            .iter()
            .filter_map(|split| Some(split.clean? * split.images as f64));
        let all = (images > 0).then(|| right.sum::<f64>() / images as f64);
        let on_val = splits.iter().find(|split| split.split == Split::Val.name());
        let on_val = on_val.and_then(|split| split.clean);
        // By its name alone: what stands in a run's report does not depend on where the run is.
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
        net: &dyn Classifier,
        watch: Option<Watch>,
    ) -> Result<SplitResult> {
        let how = self.measure;
        let table = Source::new(store.load(split)?, self.device)?;
        let measured = measure(net, watch, &table, how)?;
        let attacks = table.attacks.len();
        let (clean, baseline, mixed) = accuracies(&table, how, |row, variant| {
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
            clean: measured.clean,
            attacks: measured.attacks,
            mixed: Mixed {
                share: how.share,
                accuracy: measured.mixed.or(measured.clean),
            },
            detector: measured.detector,
            baseline: Some(Baseline {
                clean,
                attacks: baseline,
                mixed,
            }),
            unchanged: Named(unchanged),
        })
    }

    /// The detector that was asked for or is beside the model, unless it learned from another surrogate.
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
                "it learned from the model {:.12}..., the store's is {ours:.12}...",
                theirs
            ),
            None if width != surrogate.width => format!(
                "it fits a model of width {width}, the store's has width {}",
                surrogate.width
            ),
            None => {
                log::warning(format_args!(
                    "{}: its header does not say which model it learned from; if that is not the store's, its \
                     numbers mean nothing",
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

/// Why a model's accuracy on a store's `val` images says nothing: it was trained on some of them.
pub fn val_was_trained_on(metadata: &Metadata, store: &Store) -> Option<String> {
    let (origin, meta) = (Origin::of(metadata)?, store.meta());
    origin.overlaps_val(&meta.source_hash, meta.seed).then(|| {
        format!(
            "trained with --seed {} on images that the store, with --seed {}, holds out as val",
            origin.split_seed, meta.seed
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
