//! Quantization of attacks on a trained model: at least 99% of the images that fool it as floats
//! fool it as stored bytes, at hardly more distance from the clean images.

use std::{collections::HashMap, path::Path, sync::Mutex};

use attacks::{Attack, AttackBatch, AttackConfig, AttackKind, Perturbed, Preset, quantize};
use base::Result;
use candle_core::{Device, Tensor};
use data::IMAGE_BYTES;
use nn::model::{Architecture, Classifier, Weights, predicted_classes};

/// Shifts that keep a grating in its class: augmentation of the twelve images.
const SHIFTS: [(usize, usize); 3] = [(0, 0), (3, 0), (0, 5)];

/// The trained model of the golden files, and the bytes and labels of their shifted images that
/// the model classifies right.
fn trained() -> (Box<dyn Classifier>, Vec<u8>, Vec<u8>) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let path = golden.join("attacks_weights.safetensors");
    let weights = Weights::read(&path, &Device::Cpu).unwrap().0;
    let network = Architecture::DEFAULT.load("the model", weights).unwrap();
    let model = network.eval().unwrap();
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
    for (image, label) in bytes("images")
        .chunks_exact(IMAGE_BYTES)
        .zip(bytes("labels"))
    {
        for (x, y) in SHIFTS {
            let from = |i: usize| i / 1024 * 1024 + (i / 32 % 32 + y) % 32 * 32 + (i + x) % 32;
            let shifted: Vec<u8> = (0..IMAGE_BYTES).map(|i| image[from(i)]).collect();
            let image = quantize::to_tensor(&shifted, &Device::Cpu).unwrap();
            if predicted_classes(&model.logits(&image).unwrap()).unwrap() == [label] {
                right.extend(shifted);
                labels.push(label);
            }
        }
    }
    (model, right, labels)
}

/// Wraps an attack and keeps its floats, to compare them with the bytes.
struct Recorder {
    attack: Box<dyn Attack>,
    floats: Mutex<Option<Tensor>>,
}

impl Attack for Recorder {
    fn perturb(&self, model: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let perturbed = self.attack.perturb(model, batch)?;
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
fn quantized_samples_fool_a_trained_model_as_floats_do_at_hardly_more_distance() {
    let (model, clean, labels) = trained();
    let images = quantize::to_tensor(&clean, &Device::Cpu).unwrap();
    let ids: Vec<u64> = (0..labels.len() as u64).collect();
    assert!(labels.len() >= 25, "{} images", labels.len());
    for preset in [Preset::Paper, Preset::Standard] {
        for kind in [AttackKind::DeepFool, AttackKind::Cw] {
            let attack = AttackConfig::preset(preset).build(kind);
            let batch = AttackBatch::new(&clean, &labels, &ids, 0, &Device::Cpu).unwrap();
            let attack = Recorder {
                attack,
                floats: Mutex::default(),
            };
            let samples = attacks::generate(&attack, model.as_ref(), &batch).unwrap();
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
