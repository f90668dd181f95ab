//! The stored bytes of a trained model's attacks: of what fools the model as floats, at least 99% must
//! fool it as bytes, hardly further from the clean images (design: quantizing).

use std::{collections::HashMap, path::Path, sync::Mutex};

use attacks::{Attack, AttackBatch, AttackConfig, AttackKind, Perturbed, Preset, quantize};
use base::Result;
use candle_core::{Device, Tensor};
use data::IMAGE_BYTES;
use nn::model::{Classifier, FrozenResNet34, ResNet34, Weights, predicted_classes};

/// Shifts that leave a grating in its class, so that twelve images become many.
const SHIFTS: [(usize, usize); 3] = [(0, 0), (3, 0), (0, 5)];

/// The trained model of the golden files, and the bytes and labels of their images in every
/// shift, as far as the model gets them right.
fn trained() -> (FrozenResNet34, Vec<u8>, Vec<u8>) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let path = golden.join("attacks_weights.safetensors");
    let weights = Weights::read(&path, &Device::Cpu).unwrap().0;
    let net = ResNet34::new("the model", weights)
        .unwrap()
        .frozen()
        .unwrap();
    let path = golden.join("attacks.safetensors");
    let tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let bytes = |name: &str| -> Vec<u8> {
        let tensor = tensors[name].flatten_all().unwrap();
        tensor
            .to_dtype(candle_core::DType::U8)
            .unwrap()
            .to_vec1()
            .unwrap()
    };
    let (mut right, mut labels) = (Vec::new(), Vec::new());
    for (picture, label) in bytes("images")
        .chunks_exact(IMAGE_BYTES)
        .zip(bytes("labels"))
    {
        for (x, y) in SHIFTS {
            let from = |i: usize| i / 1024 * 1024 + (i / 32 % 32 + y) % 32 * 32 + (i + x) % 32;
            let shifted: Vec<u8> = (0..IMAGE_BYTES).map(|i| picture[from(i)]).collect();
            let image = quantize::to_tensor(&shifted, &Device::Cpu).unwrap();
            if predicted_classes(&net.logits(&image).unwrap()).unwrap() == [label] {
                right.extend(shifted);
                labels.push(label);
            }
        }
    }
    (net, right, labels)
}

/// An attack whose floats are kept, so that they can be compared with the bytes made of them.
struct Recorder {
    attack: Box<dyn Attack>,
    floats: Mutex<Option<Tensor>>,
}

impl Attack for Recorder {
    fn perturb(&self, net: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let perturbed = self.attack.perturb(net, batch)?;
        let floats = perturbed.images.clamp(0f32, 1f32)?;
        self.floats.lock().unwrap().replace(floats);
        Ok(perturbed)
    }
}

fn distances(images: &Tensor, clean: &Tensor) -> Vec<f32> {
    let squares = (images - clean)
        .unwrap()
        .sqr()
        .unwrap()
        .flatten_from(1)
        .unwrap();
    squares.sum(1).unwrap().sqrt().unwrap().to_vec1().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn what_fools_a_trained_net_as_floats_fools_it_as_bytes_hardly_further_away() {
    let (net, clean, labels) = trained();
    let images = quantize::to_tensor(&clean, &Device::Cpu).unwrap();
    let ids: Vec<u64> = (0..labels.len() as u64).collect();
    assert!(labels.len() >= 25, "{} images", labels.len());
    for preset in [Preset::Paper, Preset::Standard] {
        for kind in [AttackKind::DeepFool, AttackKind::Cw] {
            let attack = AttackConfig::preset(preset).build(kind);
            let batch = AttackBatch {
                images: images.clone(),
                styles: images.clone(),
                labels: &labels,
                ids: &ids,
                seed: 0,
            };
            let attack = Recorder {
                attack,
                floats: Mutex::default(),
            };
            let samples = attacks::run(&attack, &net, &batch, &clean).unwrap();
            let floats = attack.floats.into_inner().unwrap().unwrap();
            let float_l2 = distances(&floats, &images);
            let fooled: Vec<usize> = (0..labels.len())
                .filter(|&i| samples[i].pred_float != labels[i])
                .collect();
            let survived = fooled
                .iter()
                .filter(|&&i| samples[i].pred != labels[i])
                .count();
            let before = median(fooled.iter().map(|&i| f64::from(float_l2[i])).collect());
            let after = median(fooled.iter().map(|&i| samples[i].l2).collect());
            let what = format!(
                "{kind} {preset}: {survived} of {} survive, median L2 {before:.4} -> {after:.4}",
                fooled.len()
            );
            println!("{what}");
            assert!(fooled.len() * 10 >= labels.len() * 3, "{what}");
            assert!(survived * 100 >= fooled.len() * 99, "{what}");
            assert!(after <= 1.08 * before, "{what}");
        }
    }
}
