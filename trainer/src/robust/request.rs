//! An evaluation of robustness from its inputs to `robust.json`.

use std::path::{Path, PathBuf};

use base::{Error, Result, files, log, signal::Stop};
use cli::{arguments::refuse_given, normalization::NormalizationArguments};
use data::Split;
use nn::{
    ComputeDevice,
    model::{Detector, Loaded, Origin, Weights},
};
use robustness::{EvaluationAttack, Norm, Target};
use store::{Shard, Store};

use super::{
    evaluation::{Guarding, ShardEvaluation},
    folder::Folder,
    images::ImageSource,
    settings::RobustSettings,
    summary::Robustness,
};
use crate::{config::Config, eps::Budgets, evaluate::surrogate, folder as run_folder};

/// Advice after an interruption.
const RESUME: &str = "the same command goes on from here";

/// The model's files.
pub struct Files {
    /// The classifier.
    pub model: PathBuf,
    /// The detector; by default the one beside the classifier, if it is there.
    pub detector: Option<PathBuf>,
    /// The model whose feature maps the detector sees; by default the store's that it was trained with.
    pub pretrained: Option<PathBuf>,
    /// Whether to leave the detector out.
    pub without_detector: bool,
}

/// An evaluation.
pub struct RobustRequest {
    /// The models.
    pub files: Files,
    /// The classifier's normalization, where its metadata lack it.
    pub normalization: NormalizationArguments,
    /// The images.
    pub source: ImageSource,
    /// Their split.
    pub split: Split,
    /// How many of them; none for all.
    pub limit: Option<usize>,
    /// The attacks, in their order.
    pub attacks: Vec<&'static EvaluationAttack>,
    /// The norm.
    pub norm: Norm,
    /// The budgets.
    pub eps: Budgets,
    /// Steps, restarts and queries, where not each attack's own.
    pub settings: robustness::Settings,
    /// Images of the sanity checks.
    pub sanity: usize,
    /// Images at once.
    pub batch_size: usize,
    /// The part of the images to do.
    pub shard: Shard,
    /// The output folder.
    pub out: PathBuf,
    /// Whether to remove another evaluation there.
    pub force: bool,
}

impl RobustRequest {
    /// Evaluates, or goes on; the result, unless other shards are still to be done.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings that do not fit the model, [`Error::Data`] for wrong inputs,
    /// [`Error::Interrupted`] after a signal.
    pub fn run(&self, device: &ComputeDevice) -> Result<Option<Robustness>> {
        let model_path = &self.files.model;
        let mut inputs = vec![model_path.as_path(), self.source.path()];
        inputs.extend(self.files.detector.as_deref());
        inputs.extend(self.files.pretrained.as_deref());
        Folder::check(&self.out, &inputs, self.force)?;
        let normalization = self.normalization.given()?;
        let loaded = Loaded::read(model_path, normalization, device)?;
        if let Some(warning) = run_folder::unfinished_model(model_path) {
            log::warning(warning);
        }
        let seed = self.settings.seed;
        let source = (model_path.as_path(), &loaded.metadata);
        let selection = self.source.select(self.split, self.limit, seed, source)?;
        let description = loaded.network.describe();
        description.check_classes(&model_path.display(), selection.classes)?;
        for attack in &self.attacks {
            attack.check(self.norm, description.classes)?;
        }
        let guarding = self.guarding(device)?;
        self.refuse_unused(guarding.is_some())?;
        if guarding.is_some() && selection.val.is_empty() {
            return Err(Error::data(
                self.source.path().display(),
                "no images in val",
                "some, for the detector's thresholds (or --without-detector)",
            ));
        }
        for metadata in (guarding.iter()).flat_map(|g| [&g.metadata, &g.pretrained.metadata]) {
            let val = &selection.origin;
            if Origin::of(metadata)
                .is_some_and(|o| o.overlaps_val(&val.source_hash, val.split_seed))
            {
                return Err(Error::data(
                    self.source.path().display(),
                    "val images that the detector, or its pretrained model, was trained on",
                    "unseen ones, for the detector's thresholds (or --without-detector)",
                ));
            }
        }
        let settings = RobustSettings {
            model_sha256: store::sha256(&loaded.bytes),
            normalization: normalization.map(|n| format!("{} {}", n.mean, n.std)),
            detector_sha256: guarding.as_ref().map(|guarding| guarding.sha256.clone()),
            images_hash: selection.hash(),
            split: self.split.name().into(),
            images: selection.images.len(),
            norm: self.norm,
            eps: self.eps.0.clone(),
            attacks: self
                .attacks
                .iter()
                .map(|attack| attack.name.to_string())
                .collect(),
            steps: self.settings.steps,
            restarts: self.settings.restarts,
            queries: self.settings.queries,
            sanity: self.sanity.min(selection.images.len()),
            seed,
        };
        let folder = Folder::enter(&self.out, settings, self.shard, self.force)?;
        if let Some(result) = folder.result()? {
            log::info(format_args!("{}: already complete", self.out.display()));
            return Ok(Some(result));
        }
        let model = loaded.network.eval()?;
        let stop = Stop::listen()?;
        let poll = || stop.check(RESUME);
        let target = Target::new(model.as_ref(), device, &poll);
        let evaluation = ShardEvaluation {
            request: self,
            target: &target,
            selection: &selection,
            folder: &folder,
            loaded: &loaded,
        };
        evaluation.run(guarding.as_ref(), device, &poll)
    }

    /// Refuses options that no chosen attack has, and a pretrained model without a detector.
    fn refuse_unused(&self, with_detector: bool) -> Result<()> {
        let is_square = |attack: &&'static EvaluationAttack| attack.name == "square";
        let square = self.attacks.iter().any(is_square);
        // Adaptive attacks on a detector follow gradients.
        let gradients = with_detector || !self.attacks.iter().all(is_square);
        let (of, pretrained) = (&self.settings, self.files.pretrained.is_some());
        let by_gradients = [
            ("--steps", !gradients && of.steps.is_some()),
            ("--restarts", !gradients && of.restarts.is_some()),
        ];
        refuse_given(&by_gradients, "an attack by gradients")?;
        refuse_given(
            &[("--queries", !square && of.queries.is_some())],
            "the attack square",
        )?;
        refuse_given(
            &[("--pretrained", !with_detector && pretrained)],
            "a detector",
        )
    }

    /// The detector and its pretrained model, unless there is none or it is to be left out.
    fn guarding(&self, device: &ComputeDevice) -> Result<Option<Guarding>> {
        let beside = self.files.model.with_file_name(run_folder::DETECTOR);
        let path = match &self.files.detector {
            _ if self.files.without_detector => return Ok(None),
            Some(path) => path,
            None if beside.exists() => &beside,
            None => return Ok(None),
        };
        let bytes = files::read(path)?;
        let what = path.display().to_string();
        let (weights, metadata) = Weights::parse(&what, &bytes, device)?;
        let detector = Detector::new(&what, weights)?;
        let pretrained = self.pretrained(device)?;
        let sha256 = store::sha256(&pretrained.bytes);
        if let Some(wanted) = metadata
            .get("pretrained_sha256")
            .filter(|wanted| **wanted != sha256)
        {
            return Err(Error::data(
                what,
                format!("a detector of the pretrained model {wanted:.12}..."),
                format!(
                    "one of the given pretrained model, {sha256:.12}... (or --without-detector)"
                ),
            ));
        }
        let width = pretrained.network.describe().width;
        if detector.width() != width {
            let found = format!("a detector for width {}", detector.width());
            return Err(Error::data(
                what,
                found,
                format!("one for width {width}, the pretrained model's"),
            ));
        }
        Ok(Some(Guarding {
            sha256: [store::sha256(&bytes), sha256],
            detector,
            metadata,
            pretrained,
        }))
    }

    /// The pretrained model: the given file, the store's, or that of the store in the run's settings.
    fn pretrained(&self, device: &ComputeDevice) -> Result<Loaded> {
        if let Some(path) = &self.files.pretrained {
            return Loaded::read(path, None, device);
        }
        if let ImageSource::Store(path) = &self.source {
            return surrogate(&Store::open(path)?, device);
        }
        let config = self.files.model.with_file_name(run_folder::CONFIG);
        let db = if config.exists() {
            Config::read(&config)?.db
        } else {
            None
        };
        match db.filter(|db| db.exists()) {
            Some(db) => surrogate(&Store::open(&db)?, device),
            None => Err(Error::Usage(
                "the detector needs the model that it was trained with: name it with --pretrained, or its store \
                 with --db, or leave the detector out with --without-detector"
                    .into(),
            )),
        }
    }
}

/// The attacks that a list names, `autoattack` being the standard set; each once, in the order given.
///
/// # Errors
/// The known names, for an unknown one.
pub fn attacks(text: &str) -> std::result::Result<Vec<&'static EvaluationAttack>, String> {
    let mut attacks: Vec<&'static EvaluationAttack> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let names: &[&str] = match name {
            "autoattack" => &robustness::AUTOATTACK,
            _ => &[name],
        };
        for name in names {
            let Some(attack) = EvaluationAttack::named(name) else {
                let known: Vec<&str> = robustness::ATTACKS
                    .iter()
                    .map(|attack| attack.name)
                    .collect();
                return Err(format!(
                    "'{name}' is none of autoattack, {}",
                    known.join(", ")
                ));
            };
            if !attacks.iter().any(|other| other.name == attack.name) {
                attacks.push(attack);
            }
        }
    }
    Ok(attacks)
}

/// The default output folder: `robust` in the model's folder.
pub fn default_out(model: &Path) -> PathBuf {
    model.with_file_name("robust")
}
