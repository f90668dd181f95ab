//! Evaluation of a model file on the splits of a store, beside the surrogate.

use std::path::Path;

use base::{Error, Result, error::printable, log};
use cli::normalization::NormalizationArguments;
use data::Split;
use nn::{
    ComputeDevice,
    model::{Detector, Loaded, Metadata, ModelDescription, Weights},
};
use store::Store;

use super::{
    measured::{MeasuredSplit, finite_scores},
    split::EvalConfig,
    surrogate::{surrogate, val_was_trained_on},
    thresholds::{Thresholds, thresholds},
};
use crate::{
    batch::BatchSource,
    folder,
    methods::DetectorContext,
    report::evaluation::{Evaluation, Model, SplitResult, Surrogate},
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
        let context = detector.as_ref().map(|(detector, _)| DetectorContext {
            detector,
            pretrained: pretrained.as_ref(),
        });
        let model = loaded.network.eval()?;
        let measure = |split: &Split| {
            let table = BatchSource::new(store.load(*split)?, self.device)?;
            let batch_size = self.config.batch_size;
            MeasuredSplit::measure((*split, table), model.as_ref(), context, batch_size)
        };
        let measured: Vec<MeasuredSplit> =
            self.splits.iter().map(measure).collect::<Result<_>>()?;
        let surrogate_saw_val = val_was_trained_on(&surrogate.metadata, store);
        let detector_saw_val = detector
            .as_ref()
            .and_then(|(_, metadata)| val_was_trained_on(metadata, store))
            .map(|reason| format!("the detector was {reason}"));
        // A score depends on the detector and on the surrogate, so either may invalidate the thresholds.
        let reason = surrogate_saw_val.as_ref();
        let saw_val =
            detector_saw_val.or(reason.map(|reason| format!("the surrogate was {reason}")));
        let thresholds = match (context, saw_val) {
            (Some(context), None) => self.thresholds(store, context, &measured)?,
            (_, reason) => Err(reason.unwrap_or("no detector".into())),
        };
        let class_names = &store.meta().spec.classes;
        let result = |measured: &MeasuredSplit| {
            let mut result = measured.result(self.config, &thresholds, class_names);
            if surrogate_saw_val.is_some() && measured.split == Split::Val {
                result.baseline = None;
            }
            result
        };
        let splits: Vec<SplitResult> = measured.iter().map(result).collect();
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

    /// The thresholds, from `val` as it was measured, or else from its clean images alone.
    fn thresholds(
        &self,
        store: &Store,
        context: DetectorContext,
        measured: &[MeasuredSplit],
    ) -> Result<Thresholds> {
        if let Some(val) = measured.iter().find(|split| split.split == Split::Val) {
            return Ok(thresholds(&val.clean_scores()));
        }
        let val = match store.load(Split::Val) {
            Ok(val) => val,
            // Only the thresholds need these images.
            Err(error @ (Error::Data { .. } | Error::Invalid { .. })) => {
                log::warning(format_args!("{error}; so the detector has no thresholds"));
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let clean: Vec<(usize, usize)> = (0..val.len()).map(|row| (row, 0)).collect();
        let val = BatchSource::new(val, self.device)?;
        let scores = finite_scores(context, &val, &clean, self.config.batch_size)?;
        Ok(thresholds(&scores))
    }

    /// The requested detector, or the one beside the model, with its metadata, unless it was trained with another
    /// surrogate.
    fn detector(
        &self,
        store: &Store,
        surrogate: ModelDescription,
    ) -> Result<Option<(Detector, Metadata)>> {
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
            Some(theirs) if *theirs == ours => return Ok(Some((detector, metadata))),
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
                return Ok(Some((detector, metadata)));
            }
        };
        log::warning(format_args!(
            "{}: {reason}; it is left out of the tables",
            path.display()
        ));
        Ok(None)
    }
}

/// Architecture, method, width and epoch of a model, from its metadata.
pub fn describe_model(loaded: &Loaded) -> Model {
    let description = loaded.network.describe();
    let text = |key: &str, default: &str| {
        let value = loaded.metadata.get(key);
        printable(&value.map_or(default, |value| value))
    };
    Model {
        name: description.architecture.to_string(),
        method: text("method", "unknown"),
        width: description.width,
        epoch: text("epoch", "0").parse().unwrap_or(0),
    }
}
