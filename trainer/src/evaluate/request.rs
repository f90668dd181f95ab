//! Evaluation of a model file on the splits of a store, beside the surrogate.

use std::path::Path;

use base::{Error, Result, log};
use cli::normalization::NormalizationArguments;
use data::Split;
use nn::{
    ComputeDevice,
    model::{Classifier, Detector, Loaded, ModelDescription, Weights},
};
use store::Store;

use super::{
    split::{EvalConfig, accuracies, evaluate_split},
    surrogate::{surrogate, val_was_trained_on},
};
use crate::{
    batch::BatchSource,
    folder,
    methods::DetectorContext,
    metrics::OrderedMap,
    report::evaluation::{Baseline, Evaluation, Mixed, Model, SplitResult, Surrogate},
};

/// An evaluation of a model on a store.
pub struct EvalRequest<'a> {
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
    pub device: &'a ComputeDevice,
}

impl EvalRequest<'_> {
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
            model: describe_model(&loaded),
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

pub(super) fn describe_model(loaded: &Loaded) -> Model {
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
