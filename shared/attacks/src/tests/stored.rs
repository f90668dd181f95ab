//! Quantized samples: the stored bytes fool the model nearly as often and at nearly the same
//! distance as the floats did.

use candle_core::{Device, Tensor};

use super::model::{TestBatch, TestModel, random_images};
use crate::{Attack, AttackBatch, AttackConfig, AttackKind, Perturbed, Preset, generate, quantize};
use base::Result;
use data::IMAGE_BYTES;
use nn::model::Classifier;

#[test]
fn quantized_samples_fool_the_model_as_floats_do_at_hardly_more_distance() {
    let model = TestModel::mlp(9);
    let test = TestBatch::confident(&model, 60);
    for preset in [Preset::Paper, Preset::Standard] {
        // Without overshoot DeepFool ends on the boundary of a model as straight as this.
        let text = "[deepfool]\novershoot = 0.02";
        let config = AttackConfig::preset(preset);
        let config = config.overlay(text, "test").unwrap();
        for kind in [AttackKind::DeepFool, AttackKind::Cw] {
            let batch = test.batch();
            let images = config.build(kind).perturb(&model, &batch).unwrap().images;
            let change = (images.clamp(0f32, 1f32).unwrap() - batch.images()).unwrap();
            let float_l2 = change
                .sqr()
                .unwrap()
                .flatten_from(1)
                .unwrap()
                .sum(1)
                .unwrap();
            let float_l2 = float_l2.sqrt().unwrap().to_vec1::<f32>().unwrap();
            let rounded = quantize::round(
                &images
                    .clamp(0f32, 1f32)
                    .unwrap()
                    .flatten_all()
                    .unwrap()
                    .to_vec1()
                    .unwrap(),
            );
            let by_rounding = model.predict(&rounded);

            let samples = generate(&*config.build(kind), &model, &batch).unwrap();
            let stored: Vec<u8> = samples.iter().flat_map(|s| s.pixels.clone()).collect();
            let preds: Vec<u8> = samples.iter().map(|s| s.pred).collect();
            assert_eq!(model.predict(&stored), preds, "pred is of the stored bytes");

            let count = |fooled: &dyn Fn(usize) -> bool| (0..60).filter(|&i| fooled(i)).count();
            let floats = count(&|i| samples[i].pred_float != test.labels[i]);
            let nearest = count(&|i| by_rounding[i] != test.labels[i]);
            let survived =
                count(&|i| samples[i].pred_float != test.labels[i] && preds[i] != test.labels[i]);
            let mut ratios: Vec<f64> = (0..60)
                .filter(|&i| samples[i].pred_float != test.labels[i])
                .map(|i| samples[i].l2 / f64::from(float_l2[i]))
                .collect();
            ratios.sort_by(f64::total_cmp);
            let median = ratios[ratios.len() / 2];
            println!(
                "{kind} {preset}: floats {floats}, rounded {nearest}, stored {survived}, l2 {:.3}, ratio {median:.4}",
                float_l2[0]
            );
            assert!(floats >= 57, "{kind} {preset}: {floats}");
            assert!(
                nearest < floats,
                "{kind} {preset}: no image to requantize in this test"
            );
            assert!(
                survived as f64 >= 0.99 * floats as f64,
                "{kind} {preset}: {survived}"
            );
            assert!(median <= 1.08, "{kind} {preset}: {median}");
        }
    }
}

/// Returns these floats, whatever the batch.
struct Fixed(Vec<f32>);

impl Attack for Fixed {
    fn perturb(&self, _: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let images = Tensor::from_slice(&self.0, batch.images().dims(), batch.device())?;
        let steps = vec![1; batch.len()];
        Ok(Perturbed { images, steps })
    }
}

/// The images moved up by so much, which lie in an Linf ball of this radius.
struct Up(f32);

impl Attack for Up {
    fn perturb(&self, _: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let images = (batch.images() + f64::from(self.0))?;
        let steps = vec![1; batch.len()];
        Ok(Perturbed { images, steps })
    }

    fn radius(&self) -> Option<f64> {
        Some(self.0.into())
    }
}

#[test]
fn stored_bytes_stay_in_the_linf_ball_of_any_eps() {
    let model = TestModel::random_linear(1);
    let mut test = TestBatch::of(&model, random_images(4));
    for (eps, levels) in [(0.03, 7), (8.0 / 255.0, 8), (0.002, 0), (1.0, 255)] {
        // Labels that are not predicted: no success is to be restored.
        let samples = generate(&Up(eps), &model, &test.batch()).unwrap();
        test.labels = samples.iter().map(|s| (s.pred_float + 1) % 10).collect();
        let samples = generate(&Up(eps), &model, &test.batch()).unwrap();
        for (sample, clean) in samples.iter().zip(test.bytes.chunks(IMAGE_BYTES)) {
            let most = clean.iter().zip(&sample.pixels);
            let most = most.map(|(clean, byte)| byte - clean).max();
            let free = clean.iter().map(|clean| 255 - clean).max();
            assert_eq!(most, free.map(|free| free.min(levels)), "eps {eps}");
        }
    }
}

#[test]
fn restored_successes_stay_in_the_linf_ball() {
    let model = TestModel::mlp(9);
    let test = TestBatch::confident(&model, 60);
    let preset = AttackConfig::preset(Preset::Standard);
    let mut lost = 0;
    for eps in [0.005, 0.0109, 0.0146] {
        let text = format!("[pgd]\neps = {eps}\nstep = 0.002");
        let config = preset.clone().overlay(&text, "test").unwrap();
        let samples = generate(&*config.build(AttackKind::Pgd), &model, &test.batch()).unwrap();
        for (i, (sample, clean)) in samples
            .iter()
            .zip(test.bytes.chunks(IMAGE_BYTES))
            .enumerate()
        {
            let most = clean
                .iter()
                .zip(&sample.pixels)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert!(most <= Some(quantize::levels(eps)), "eps {eps}: {most:?}");
            lost += u32::from(sample.pred_float != test.labels[i] && sample.pred == test.labels[i]);
        }
    }
    assert!(
        lost > 0,
        "no success of floats that needs more than the ball"
    );
}

#[test]
fn pixels_are_clipped_and_a_pixel_that_is_not_finite_is_an_error_that_names_the_image() {
    let model = TestModel::random_linear(1);
    let test = TestBatch::of(&model, random_images(2));
    let mut floats = vec![0.5; 2 * IMAGE_BYTES];
    (floats[0], floats[1], floats[2]) = (-3.0, 7.0, 0.1);
    let samples = generate(&Fixed(floats.clone()), &model, &test.batch()).unwrap();
    assert_eq!(samples[0].pixels[..4], [0, 255, 26, 128]);

    for value in [f32::NAN, f32::INFINITY] {
        floats[IMAGE_BYTES + 5] = value;
        let error = generate(&Fixed(floats.clone()), &model, &test.batch()).unwrap_err();
        assert!(error.to_string().contains("image 101"), "{error}");
        assert_eq!(error.exit_code(), 5);
    }
}

#[test]
fn a_batch_whose_parts_do_not_fit_is_refused() {
    let model = TestModel::random_linear(1);
    let mut test = TestBatch::of(&model, random_images(2));
    let attack = Fixed(vec![0.5; 2 * IMAGE_BYTES]);
    let refused = |bytes: &[u8], labels: &[u8], ids: &[u64]| {
        let batch = AttackBatch::new(bytes, labels, ids, 0, &Device::Cpu);
        batch.err().unwrap().exit_code()
    };
    assert_eq!(refused(&test.bytes[1..], &test.labels, &test.ids), 3);
    assert_eq!(refused(&test.bytes, &test.labels[1..], &test.ids), 3);
    assert_eq!(refused(&test.bytes, &test.labels, &test.ids[1..]), 3);
    test.labels[0] = 10;
    let error = generate(&attack, &model, &test.batch()).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("label 10"), "{error}");

    let none = TestBatch {
        bytes: vec![],
        labels: vec![],
        ids: vec![],
    };
    assert_eq!(generate(&attack, &model, &none.batch()).unwrap(), []);
}

#[test]
fn an_attack_that_needs_styles_refuses_a_batch_without_them() {
    let model = TestModel::random_linear(1);
    let test = TestBatch::of(&model, random_images(1));
    let batch = AttackBatch::new(&test.bytes, &test.labels, &test.ids, 0, &Device::Cpu).unwrap();
    let config = AttackConfig::preset(Preset::Standard);
    for kind in AttackKind::ALL {
        let refused = generate(&*config.build(kind), &model, &batch).is_err();
        assert_eq!(refused, kind.traits().needs_style, "{kind}");
    }
}
