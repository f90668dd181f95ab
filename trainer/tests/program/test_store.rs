//! A small store of three attacks for tests.

use std::{fs, path::Path};

use attacks::{AttackBatch, AttackConfig, AttackKind, Preset, quantize};
use candle_core::Device;
use data::{Image, Split};
use nn::model::{Loaded, predicted_classes};
use store::{AttackRow, BuildSpec, ImageRow, ModelRow, SampleRow, Writer};

pub const ATTACKS: [AttackKind; 3] = [AttackKind::Gaussian, AttackKind::Fgsm, AttackKind::Bim];

/// Writes the store of the images at `data` against the model at `weights`; all of it, or without
/// the last attack's samples of the test images.
pub fn write(data: &Path, weights: &Path, out: &Path, all: bool) {
    write_limited(data, weights, out, all, None);
}

/// The same of so many training images.
pub fn write_limited(data: &Path, weights: &Path, out: &Path, all: bool, limit: Option<usize>) {
    let config = AttackConfig::preset(Preset::Standard);
    write_with(data, weights, out, (all, limit, "1/1"), &config);
}

/// All images, in a store that says it is one shard of several.
pub fn write_shard(data: &Path, weights: &Path, out: &Path, shard: &str) {
    let config = AttackConfig::preset(Preset::Standard);
    write_with(data, weights, out, (true, None, shard), &config);
}

/// A store whose BIM leaves every image as it is.
pub fn write_unchanged(data: &Path, weights: &Path, out: &Path) {
    let mut config = AttackConfig::preset(Preset::Standard);
    config.bim.step = 0.0;
    write_with(data, weights, out, (true, None, "1/1"), &config);
}

/// A store with these predictions in place of the model's: of an image's id, an attack's id (0: clean) and the label.
pub fn write_predictions(data: &Path, weights: &Path, out: &Path, predict: fn(u64, i64, u8) -> u8) {
    let config = AttackConfig::preset(Preset::Standard);
    write_predicted(
        data,
        weights,
        out,
        (true, None, "1/1"),
        &config,
        Some(predict),
    );
}

fn write_with(
    data: &Path,
    weights: &Path,
    out: &Path,
    which: (bool, Option<usize>, &str),
    config: &AttackConfig,
) {
    write_predicted(data, weights, out, which, config, None);
}

fn write_predicted(
    data: &Path,
    weights: &Path,
    out: &Path,
    (all, limit, shard): (bool, Option<usize>, &str),
    config: &AttackConfig,
    predict: Option<fn(u64, i64, u8) -> u8>,
) {
    let data = data::load(data, 0, limit).unwrap();
    let loaded = Loaded::read(weights, None, &Device::Cpu).unwrap();
    let net = loaded.network.eval().unwrap();
    let attack = |kind: AttackKind| AttackRow {
        id: i64::from(kind.id()),
        name: kind.name().into(),
        params: config.params_json(kind),
        model_id: 1,
    };
    let spec = BuildSpec {
        dataset: data.name.clone(),
        classes: data.classes.clone(),
        source_hash: data.source_hash.clone(),
        seed: 0,
        preset: Preset::Standard.to_string(),
        limit: None,
        shard: shard.into(),
        images: Split::ALL.map(|split| data.split(split).len() as u64),
        generator_version: "0".into(),
        attacks: ATTACKS.map(attack).to_vec(),
        model: ModelRow::new("a thin model", "{}", fs::read(weights).unwrap()),
    };
    let mut writer = Writer::create_or_resume(out, &spec, "a test").unwrap();
    let mut first = 0;
    for split in Split::ALL {
        let originals = data.split(split);
        if originals.is_empty() {
            continue;
        }
        let ids: Vec<u64> = (first..).take(originals.len()).collect();
        first += originals.len() as u64;
        let labels: Vec<u8> = originals.iter().map(|image| image.label).collect();
        let clean: Vec<u8> = originals.iter().flat_map(|p| p.pixels.to_vec()).collect();
        let images = quantize::to_tensor(&clean, &Device::Cpu).unwrap();
        let preds = predicted_classes(&net.logits(&images).unwrap()).unwrap();
        let row = |((id, image), pred): ((&u64, &Image), u8)| {
            let pred = predict.map_or(pred, |predict| predict(*id, 0, image.label));
            ImageRow::new(*id, split, image, pred)
        };
        let rows: Vec<ImageRow> = ids.iter().zip(originals).zip(preds).map(row).collect();
        writer.insert_images(&rows).unwrap();
        let batch = AttackBatch::new(&clean, &labels, &ids, 0, &Device::Cpu).unwrap();
        let kinds = ATTACKS.into_iter();
        for kind in kinds.filter(|kind| all || split != Split::Test || *kind != AttackKind::Bim) {
            let samples =
                attacks::generate(config.build(kind).as_ref(), net.as_ref(), &batch).unwrap();
            let attack_id = i64::from(kind.id());
            let rows = std::iter::zip(std::iter::zip(&ids, &labels), samples);
            let rows: Vec<SampleRow> = rows
                .map(|((id, label), mut sample)| {
                    if let Some(predict) = predict {
                        sample.pred = predict(*id, attack_id, *label);
                    }
                    SampleRow::new(*id, attack_id, sample)
                })
                .collect();
            writer.insert_samples(&rows).unwrap();
        }
    }
    if all {
        writer.finish().unwrap();
    }
}
