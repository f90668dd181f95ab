//! Golden test of joint training: two steps by one loss, and two in two stages, equal PyTorch's.
//! `scripts/golden/reference/joint.py` has the settings.

use nn::model::{Detector, DetectorInput};

use super::{super::joint::JointStep, *};
use crate::config::{Joint, Updates};

/// Takes two steps and compares losses and changes of weights with the file.
fn compare_joint(case: &str, updates: Updates) {
    let device = nn::prepare(Device::Cpu, nn::ComputeOptions::default()).unwrap();
    let read = || Loaded::read(&golden("attacks_weights"), None, &device).unwrap();
    let loaded = read();
    let start = loaded.network.weights();
    let target = Architecture::DEFAULT.init(4, 10, 0, &device).unwrap();
    target.weights().set(start).unwrap();

    let file = tensors("joint");
    let detector = Detector::init(DetectorInput::Low, 4, 2, 0, &device).unwrap();
    let of_detector = |(name, tensor): (&String, &Tensor)| {
        let name = name.strip_prefix("detector/")?;
        Some((name.to_owned(), tensor.clone()))
    };
    let detector_start = file.iter().filter_map(of_detector).collect();
    detector.weights().set(&detector_start).unwrap();

    let optimizer = Optimizer {
        lr: 0.05,
        nesterov: true,
        label_smoothing: 0.1,
        ..Optimizer::default()
    };
    let settings = Joint {
        alpha: 1.0,
        beta: 2.0,
        detector_lr: 0.02,
        dropout: 0.0,
        updates,
        ..Joint::default()
    };
    let pretrained = read().network.eval().unwrap();
    let mut step = JointStep::new(pretrained, target, detector, &optimizer, settings, 0).unwrap();
    let losses = plain().map(|mut batch| {
        batch.attacked = vec![true, false, true, false];
        let read = step.step(&batch, 1.0).unwrap().read().unwrap();
        [
            read.cross_entropy,
            read.smooth_l1.unwrap(),
            read.detector_loss.unwrap(),
        ]
        .map(|loss| loss as f32)
    });

    let key = format!("{case}/losses");
    let mut wrong = Vec::from_iter(mismatch(&file, &key, losses.as_flattened(), 1e-5));
    let context = step.detector().unwrap();
    for (part, before, after) in [
        ("change", start, step.model().weights()),
        (
            "detector_change",
            &detector_start,
            context.detector.weights(),
        ),
    ] {
        let prefix = format!("{case}/{part}/");
        for key in file.keys().filter(|key| key.starts_with(&prefix)) {
            let name = &key[prefix.len()..];
            let change = after.get(name).unwrap().detach() - before.get(name).unwrap();
            wrong.extend(mismatch(&file, key, &floats(&change.unwrap()), 1e-3));
        }
    }
    assert!(wrong.is_empty(), "{case}: {wrong:#?}");
}

#[test]
fn two_joint_steps_equal_pytorch() {
    compare_joint("joint", Updates::Joint);
}

#[test]
fn two_joint_steps_in_two_stages_equal_pytorch() {
    compare_joint("two_stage", Updates::TwoStage);
}
