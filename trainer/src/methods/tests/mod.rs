//! Methods by name; golden tests: two steps of each method equal PyTorch's. The head of
//! `scripts/golden/golden` describes the files, `reference/methods.py` there has the settings.

mod joint;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use nn::{
    CropWindow,
    model::{Architecture, Loaded},
};

use super::{adversarial_step::AdversarialLoss, *};
use crate::{batch::TrainBatch, config::Optimizer, eps::Eps};

const BATCH: usize = 4;

fn golden(name: &str) -> std::path::PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/tests/golden");
    std::path::Path::new(folder).join(format!("{name}.safetensors"))
}

fn tensors(name: &str) -> BTreeMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(golden(name), &Device::Cpu).unwrap();
    tensors.into_iter().collect()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The batch of a step: images `first..first + 4`, augmented by these windows.
fn batch(step: u64, first: usize, windows: [CropWindow; BATCH]) -> TrainBatch {
    let attacks = tensors("attacks");
    let rows: Vec<usize> = (first..first + BATCH).collect();
    let pixels = attacks["images"].flatten_all().unwrap();
    let pixels: Vec<u8> = pixels.to_vec1().unwrap();
    let labels: Vec<i64> = attacks["labels"].to_vec1().unwrap();
    let mut images = vec![0.0; BATCH * 3072];
    for ((out, &row), window) in images.chunks_exact_mut(3072).zip(&rows).zip(windows) {
        window.crop_resize(&pixels[row * 3072..(row + 1) * 3072], out);
    }
    TrainBatch {
        images: Tensor::from_vec(images, (BATCH, 3, 32, 32), &Device::Cpu).unwrap(),
        labels: rows.iter().map(|&row| labels[row] as u8).collect(),
        variants: vec![0; BATCH],
        attacked: vec![false; BATCH],
        ids: rows.iter().map(|&row| row as u64).collect(),
        rows,
        windows: windows.to_vec(),
        epoch: step,
        step,
        schedule_step: step,
    }
}

fn window((top, left, mirrored): (i32, i32, bool)) -> CropWindow {
    CropWindow {
        top,
        left,
        mirrored,
        ..CropWindow::WHOLE
    }
}

/// What is wrong if the relative distance of our numbers to the file's is not under `bound`.
fn mismatch(
    file: &BTreeMap<String, Tensor>,
    name: &str,
    ours: &[f32],
    bound: f64,
) -> Option<String> {
    let theirs = floats(&file[name]);
    assert_eq!(ours.len(), theirs.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values
            .map(|v| f64::from(v) * f64::from(v))
            .sum::<f64>()
            .sqrt()
    };
    let distance = norm(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
    let relative = distance / norm(&mut theirs.iter().copied());
    println!("{name}: {relative:.1e}");
    let near = relative < bound; // which no NaN is
    (!near).then(|| format!("{name}: {relative:.1e}, not under {bound:.0e}"))
}

/// Takes two steps of a method and compares losses and changes of weights with the file.
fn compare(case: &str, name: &str, batches: [TrainBatch; 2], change: impl Fn(&mut Config)) {
    let mut config = Config::default_of(Method::find(name).unwrap());
    config.optimizer = Optimizer {
        lr: 0.05,
        nesterov: true,
        label_smoothing: 0.1,
        ..Optimizer::default()
    };
    change(&mut config);
    let device = nn::prepare(Device::Cpu, nn::ComputeOptions::default()).unwrap();
    let loaded = Loaded::read(&golden("attacks_weights"), None, &device).unwrap();
    let start = loaded.network.weights();
    let fresh = Architecture::DEFAULT.init(4, 10, 0, &device).unwrap();
    fresh.weights().set(start).unwrap();
    let inputs = MethodInputs {
        config: &config,
        target: fresh,
        train_images: BATCH,
        pretrained: None,
        device: &device,
    };
    let mut step = config.method.build(inputs).unwrap();
    let losses = batches.map(|batch| step.step(&batch, 1.0).unwrap().read().unwrap().loss as f32);

    let expected = tensors("methods");
    let mut wrong = Vec::from_iter(mismatch(
        &expected,
        &format!("{case}/losses"),
        &losses,
        1e-3,
    ));
    let prefix = format!("{case}/change/");
    for key in expected.keys().filter(|key| key.starts_with(&prefix)) {
        let name = &key[prefix.len()..];
        let now = step.model().weights().get(name).unwrap();
        let change = (now.detach() - start.get(name).unwrap()).unwrap();
        // Where a gradient is near 0, rounding decides its sign, and so a pixel of the examples.
        wrong.extend(mismatch(&expected, key, &floats(&change), 1e-2));
    }
    assert!(wrong.is_empty(), "{case}: {wrong:#?}");
}

fn plain() -> [TrainBatch; 2] {
    [0, 1].map(|step| batch(step, step as usize * BATCH, [CropWindow::WHOLE; BATCH]))
}

fn three_steps(config: &mut Config) {
    let settings = config.perturbation.as_mut().unwrap();
    settings.steps = 3;
    if config.method.name() == "pgd-at" {
        settings.step_size = Eps::levels(3);
    }
}

#[test]
fn two_steps_of_pgd_at_equal_pytorch() {
    compare("pgd-at", "pgd-at", plain(), three_steps);
}

#[test]
fn two_steps_of_pgd_at_with_adversarial_weight_perturbation_equal_pytorch() {
    compare("pgd-at/awp", "pgd-at", plain(), |config| {
        three_steps(config);
        config.perturbation.as_mut().unwrap().awp = Some(0.01);
    });
}

#[test]
fn two_steps_of_fast_at_with_clipped_gradients_equal_pytorch() {
    compare("fast-at", "fast-at", plain(), |config| {
        config.optimizer.clip_norm = Some(0.5);
    });
}

/// At the start the divergence is so small that rounding decides some signs, and the examples' pixels with them: the
/// loss and its gradients are compared on PyTorch's examples.
#[test]
fn examples_loss_and_gradients_of_trades_equal_pytorch() {
    let mut config = Config::default_of(Method::find("trades").unwrap());
    three_steps(&mut config);
    let device = nn::prepare(Device::Cpu, nn::ComputeOptions::default()).unwrap();
    let loaded = Loaded::read(&golden("attacks_weights"), None, &device).unwrap();
    // A tenth of the logits, for the model is too sure of its classes.
    let soft = loaded.network.weights().map(|name, tensor| {
        let factor = if name.starts_with("linear") { 0.1 } else { 1.0 };
        Ok((tensor * factor)?)
    });
    let model = Architecture::DEFAULT.init(4, 10, 0, &device).unwrap();
    model.weights().set(&soft.unwrap()).unwrap();

    let file = tensors("methods");
    let [batch, _] = plain();
    let mut trades = trades::Trades::new(&config);
    let examples = trades
        .examples(model.eval().unwrap().as_ref(), &batch)
        .unwrap();
    let theirs = &file["trades/examples"];
    let differ = floats(&(examples - theirs).unwrap());
    let differ = differ.iter().filter(|d| d.abs() > 1e-4).count();
    assert!(differ < 4 * 3072 / 20, "{differ} pixels differ");

    let cross_entropy = |logits: &Tensor| {
        let targets = batch.targets().unwrap();
        Ok(nn::smoothed_cross_entropy(logits, &targets, 0.1)?)
    };
    let losses = trades.loss(model.as_ref(), &batch.images, theirs, &cross_entropy);
    let whole = losses.unwrap().whole;
    let gradients = nn::backward(&whole).unwrap();
    let mut wrong = Vec::from_iter(mismatch(&file, "trades/loss", &floats(&whole), 1e-4));
    for (name, variable) in model.weights().variables().unwrap() {
        let key = format!("trades/grad/{name}");
        if file.contains_key(&key) {
            wrong.extend(mismatch(
                &file,
                &key,
                &floats(gradients.get(&variable).unwrap()),
                1e-3,
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn two_epochs_of_atta_under_other_augmentations_equal_pytorch() {
    let first = [(0, 0, false), (-4, 3, true), (2, -1, false), (4, 4, true)];
    let second = [(1, -2, true), (0, 0, false), (-3, -4, true), (4, 0, false)];
    let batches = [
        batch(0, 0, first.map(window)),
        batch(1, 0, second.map(window)),
    ];
    compare("atta", "atta", batches, |_| {});
}

#[test]
fn methods_round_trip_by_name() {
    for entry in METHODS {
        let method: Method = entry.name.parse().unwrap();
        let json = serde_json::to_string(&method).unwrap();
        assert_eq!(json, format!("\"{}\"", entry.name));
        assert_eq!(serde_json::from_str::<Method>(&json).unwrap(), method);
    }
    assert_eq!(Method::PRETRAIN.name(), "pretrain");
    assert_eq!(Method::JOINT.name(), "joint");
    assert!("no-such-method".parse::<Method>().is_err());
}
