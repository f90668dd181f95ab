//! Measuring: a net, perhaps a detector, and a table of pictures come in; accuracies per attack
//! (the paper's Table 4), on the mixed set (Table 2) and of the detector (Table 3) go out.

mod auc;
mod command;
mod mixed;
mod print;

pub use command::Eval;

use std::path::Path;

use candle_core::Device;
use shared::{
    Result,
    cifar10::Split,
    model::{Classifier, Detector, FrozenResNet34, Metadata, ResNet34, Weights, likeliest},
    store::{Store, Table},
};

use crate::{
    batch::Source,
    metrics::{DetectorMetrics, Named},
    report::evaluation::{Baseline, Evaluation, Mixed, Model, SplitResult, Surrogate},
    step::Watch,
};

/// What a split says of a net. Accuracies are parts of 1.
pub struct Measured {
    /// On clean pictures.
    pub clean: f64,
    /// On each attack's variants.
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
    /// Seed of the mixed set's permutation: the store's, so that all nets get the same set.
    pub seed: u64,
    /// Pictures per batch.
    pub batch_size: usize,
}

/// Measures a net, and a detector where there is one.
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
        let classes = likeliest(&net.logits(&images)?)?;
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
    let detector = match watch.filter(|_| variants > 1) {
        Some(watch) => Some(detect(watch, table, how)?),
        None => None,
    };
    Ok(Measured {
        clean,
        attacks,
        mixed: (variants > 1).then_some(mixed),
        detector,
    })
}

/// Accuracies on the clean pictures, on each attack's variants and on the mixed set, given which
/// (row, variant) a net is right about.
fn accuracies(
    table: &Table,
    how: Measure,
    is_right: impl Fn(usize, usize) -> bool,
) -> (f64, Named<f64>, f64) {
    let part = |count: usize| count as f64 / table.len().max(1) as f64;
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
        on(0),
        Named(attacks.map(|(i, name)| (name.clone(), on(1 + i))).collect()),
        part(
            mixed
                .filter(|(row, variant)| is_right(*row, **variant))
                .count(),
        ),
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
    let attacked: Vec<bool> = mixed.iter().map(|variant| *variant > 0).collect();
    let right = scores.iter().zip(&attacked);
    let right = right.filter(|(score, attacked)| (**score > 0.0) == **attacked);
    Ok(DetectorMetrics {
        accuracy: right.count() as f64 / scores.len().max(1) as f64,
        auc: auc::roc_auc(&scores, &attacked),
    })
}

/// Measures a net on splits of a store, beside the surrogate, whose labels the store holds.
pub fn evaluate(
    store: &Store,
    splits: &[Split],
    model: Model,
    net: &dyn Classifier,
    watch: Option<Watch>,
    how: Measure,
    device: &Device,
) -> Result<Evaluation> {
    let result = |split: &Split| {
        let table = Source::new(store.load(*split)?, device)?;
        let measured = measure(net, watch, &table, how)?;
        let attacks = table.attacks.len();
        let (clean, baseline, mixed) = accuracies(&table, how, |row, variant| {
            let class = match variant {
                0 => table.clean_preds[row],
                _ => table.preds[row * attacks + variant - 1],
            };
            class == table.labels[row]
        });
        Ok(SplitResult {
            split: split.name().to_string(),
            images: table.len() as u64,
            clean: measured.clean,
            attacks: measured.attacks,
            mixed: Mixed {
                share: how.share,
                accuracy: measured.mixed.unwrap_or(measured.clean),
            },
            detector: measured.detector,
            baseline: Baseline {
                clean,
                attacks: baseline,
                mixed,
            },
        })
    };
    let surrogate = store.model()?;
    Ok(Evaluation {
        model,
        surrogate: Surrogate {
            name: surrogate.name,
            sha256: surrogate.sha256,
        },
        splits: splits.iter().map(result).collect::<Result<_>>()?,
    })
}

/// The classifier of a store's surrogate.
pub fn surrogate(store: &Store, device: &Device) -> Result<ResNet34> {
    let model = store.model()?;
    let what = format!("the store's model {}", model.name);
    let (weights, _) = Weights::parse(&what, &model.weights, device)?;
    ResNet34::new(&what, weights)
}

/// Reads a classifier, frozen, and what its file says of it.
pub fn read_net(path: &Path, device: &Device) -> Result<(FrozenResNet34, Model)> {
    let (weights, metadata) = Weights::read(path, device)?;
    let net = ResNet34::new(&path.display().to_string(), weights)?;
    let model = describe(&net, &metadata);
    Ok((net.frozen()?, model))
}

fn describe(net: &ResNet34, metadata: &Metadata) -> Model {
    let text = |key: &str, default: &str| metadata.get(key).map_or(default, |v| v).to_string();
    Model {
        name: text("architecture", "resnet34"),
        method: text("method", "unknown"),
        width: net.width(),
        epoch: text("epoch", "0").parse().unwrap_or(0),
    }
}

/// Reads a detector, frozen.
pub fn read_detector(path: &Path, device: &Device) -> Result<Detector> {
    let (weights, _) = Weights::read(path, device)?;
    Detector::new(&path.display().to_string(), weights)
}
