//! Attacks on linear models against closed-form results.

use candle_core::{D, Device, Tensor};

use super::model::{CLASSES, TestBatch, TestModel, random_images};
use crate::{
    Attack, AttackBatch, AttackConfig, AttackKind, Preset,
    cw::{OnFailure, Space},
    gradient, logits,
    signed_gradient::cross_entropy_gradient,
};
use data::IMAGE_BYTES;
use nn::model::Classifier;

/// Class 0 against class 1 along +-1 stripes, class 2 along another pattern; the others are far.
fn striped() -> (TestModel, Vec<f32>) {
    let mut weights = vec![0f32; CLASSES * IMAGE_BYTES];
    for pixel in 0..IMAGE_BYTES {
        weights[pixel] = [0.01, -0.01, 0.0][pixel % 3];
        weights[IMAGE_BYTES + pixel] = -weights[pixel];
        weights[2 * IMAGE_BYTES + pixel] = if pixel % 2 == 0 { 0.004 } else { -0.004 };
    }
    let mut bias = [-500.0; CLASSES];
    (bias[0], bias[1], bias[2]) = (0.3, 0.0, -0.2);
    (TestModel::linear(weights.clone(), &bias), weights)
}

/// A gray image of class 0, not near 0 or 1.
fn gray() -> TestBatch {
    TestBatch {
        bytes: vec![120; IMAGE_BYTES],
        labels: vec![0],
        ids: vec![1],
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn perturbed(attack: &dyn Attack, model: &dyn Classifier, batch: &AttackBatch) -> Vec<f32> {
    floats(&attack.perturb(model, batch).unwrap().images)
}

fn close(found: &[f32], expected: impl Iterator<Item = f64>, tolerance: f64) {
    for (pixel, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*found) - expected).abs() < tolerance,
            "{pixel}: {found} {expected}"
        );
    }
}

/// Signs of the cross entropy's gradient for class 0: only the probabilities of classes 1 and 2 are not 0.
fn signs(model: &TestModel, weights: &[f32], test: &TestBatch) -> Vec<f64> {
    let logits = model.logits(test.batch().images()).unwrap();
    let z = logits.to_vec2::<f32>().unwrap()[0].clone();
    let e: Vec<f64> = z.iter().map(|z| f64::from(*z).exp()).collect();
    let p: Vec<f64> = e.iter().map(|x| x / e.iter().sum::<f64>()).collect();
    (0..IMAGE_BYTES)
        .map(|i| {
            let w = |class: usize| f64::from(weights[class * IMAGE_BYTES + i]);
            let grad = (p[0] - 1.0) * w(0) + p[1] * w(1) + p[2] * w(2);
            if grad == 0.0 { 0.0 } else { grad.signum() }
        })
        .collect()
}

#[test]
fn fgsm_is_one_step_along_the_gradient_sign_divided_by_the_channel_scale() {
    let (model, weights) = striped();
    let test = gray();
    let signs = signs(&model, &weights, &test);
    for (preset, step, scale) in [
        (Preset::Paper, 0.005, [0.2023, 0.1994, 0.2010]),
        (Preset::Standard, 8.0 / 255.0, [1.0; 3]),
    ] {
        let attack = AttackConfig::preset(preset).build(AttackKind::Fgsm);
        let found = perturbed(&*attack, &model, &test.batch());
        let expected = |i: usize| 120.0 / 255.0 + step / scale[i / 1024] * signs[i];
        close(&found, (0..IMAGE_BYTES).map(expected), 1e-7);
    }
}

#[test]
fn bim_sums_its_steps_up_to_the_eps_ball() {
    let (model, weights) = striped();
    let test = gray();
    let signs = signs(&model, &weights, &test);
    let scale = [0.2023, 0.1994, 0.2010];
    let config = AttackConfig::preset(Preset::Paper);
    let found = perturbed(&*config.build(AttackKind::Bim), &model, &test.batch());
    let paper = |i: usize| 120.0 / 255.0 + (0.001 + 5.0 * 0.001 / scale[i / 1024]) * signs[i];
    close(&found, (0..IMAGE_BYTES).map(paper), 1e-6);
    let steps = config
        .build(AttackKind::Bim)
        .perturb(&model, &test.batch())
        .unwrap()
        .steps;
    assert_eq!(steps, [6]);

    let config = AttackConfig::preset(Preset::Standard);
    let found = perturbed(&*config.build(AttackKind::Bim), &model, &test.batch());
    let standard = |i: usize| (120.0 + 8.0 * signs[i]) / 255.0;
    close(&found, (0..IMAGE_BYTES).map(standard), 1e-6);
    let config = config.overlay("[bim]\nsteps = 3", "test").unwrap();
    let found = perturbed(&*config.build(AttackKind::Bim), &model, &test.batch());
    let three = |i: usize| (120.0 + 6.0 * signs[i]) / 255.0;
    close(&found, (0..IMAGE_BYTES).map(three), 1e-6);
}

#[test]
fn deepfool_lands_on_the_nearest_boundary_of_a_linear_model() {
    let (model, weights) = striped();
    let test = gray();
    let z = model
        .logits(test.batch().images())
        .unwrap()
        .to_vec2::<f32>()
        .unwrap()[0]
        .clone();
    let normal = |class: usize| -> Vec<f64> {
        let w = |class: usize, i: usize| f64::from(weights[class * IMAGE_BYTES + i]);
        (0..IMAGE_BYTES).map(|i| w(class, i) - w(0, i)).collect()
    };
    let (class, ratio) = [1, 2]
        .map(|class| {
            let normal = normal(class);
            let square: f64 = normal.iter().map(|w| w * w).sum();
            let gap = f64::from(z[0] - z[class]);
            (gap / square.sqrt(), class, gap / square)
        })
        .into_iter()
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, class, ratio)| (class, ratio))
        .unwrap();
    let normal = normal(class);
    for (overshoot, fooled) in [(0.02, true), (0.3, true)] {
        let text = format!("[deepfool]\novershoot = {overshoot}");
        let config = AttackConfig::preset(Preset::Standard)
            .overlay(&text, "test")
            .unwrap();
        let result = config
            .build(AttackKind::DeepFool)
            .perturb(&model, &test.batch())
            .unwrap();
        assert_eq!(result.steps, [1]);
        let expected = normal
            .iter()
            .map(|w| 120.0 / 255.0 + (1.0 + overshoot) * ratio * w);
        close(&floats(&result.images), expected, 1e-6);
        let rows = logits::rows(&model.logits(&result.images).unwrap(), &[1], &[0]).unwrap();
        assert_eq!(usize::from(logits::argmax(&rows[0])) == class, fooled);
    }
}

#[test]
fn the_first_step_of_cw_is_one_learning_rate_against_the_margin() {
    let (model, weights) = striped();
    let test = gray();
    // One step only, so that nothing succeeds and the last iterate is the result. At the clean
    // image the distance has no gradient, and Adam's first step is lr * sign(gradient).
    let mut config = AttackConfig::preset(Preset::Paper);
    (config.cw.steps, config.cw.lr) = (1, 0.005);
    let found = perturbed(&config.cw, &model, &test.batch());
    // On gray the striped classes tie but for their biases: class 1 is the runner-up.
    let sign = |i: usize| {
        let grad = weights[i] - weights[IMAGE_BYTES + i];
        if grad == 0.0 {
            0.0
        } else {
            f64::from(grad.signum())
        }
    };
    close(
        &found,
        (0..IMAGE_BYTES).map(|i| 120.0 / 255.0 - 0.005 * sign(i)),
        1e-6,
    );

    (config.cw.space, config.cw.lr) = (Space::Tanh, 0.01);
    config.cw.on_failure = OnFailure::Last;
    let found = perturbed(&config.cw, &model, &test.batch());
    let start = ((2.0 * 120.0 / 255.0 - 1.0) * 0.999_999f64).atanh();
    // Where the margin has no gradient, the step follows rounding alone and is not checked.
    let expected = |i: usize| f64::midpoint((start - 0.01 * sign(i)).tanh(), 1.0);
    for i in (0..IMAGE_BYTES).filter(|&i| sign(i) != 0.0) {
        close(&found[i..=i], std::iter::once(expected(i)), 2e-6);
    }
}

#[test]
fn pixels_of_exactly_zero_and_one_move_in_tanh_space() {
    let (model, weights) = striped();
    let bytes = (0..IMAGE_BYTES).map(|i| if i % 5 == 0 { 255 } else { 0 });
    let test = TestBatch {
        bytes: bytes.collect(),
        labels: vec![0],
        ids: vec![1],
    };
    let mut config = AttackConfig::preset(Preset::Standard);
    (config.cw.lr, config.cw.steps, config.cw.on_failure) = (0.5, 4, OnFailure::Last);
    assert_eq!(model.predict(&test.bytes), [0]);
    let found = perturbed(&config.cw, &model, &test.batch());
    for (i, found) in found.iter().enumerate() {
        let grad = weights[i] - weights[IMAGE_BYTES + i];
        if i % 5 == 0 && grad > 0.0 {
            assert!(*found < 1.0 - 1e-6, "{i}: {found}");
        }
        if i % 5 != 0 && grad < 0.0 {
            assert!(*found > 1e-6, "{i}: {found}");
        }
    }
}

#[test]
fn cw_returns_the_smallest_iterate_with_the_required_confidence() {
    let model = TestModel::mlp(6);
    let test = TestBatch::confident(&model, 4);
    for preset in [Preset::Paper, Preset::Standard] {
        let mut squared_norms = Vec::new();
        for confidence in [0.0, 1.0] {
            let mut config = AttackConfig::preset(preset);
            (config.cw.confidence, config.cw.c) = (confidence, 0.1);
            (config.cw.lr, config.cw.early_stop) = (0.002, false);
            let images = config.cw.perturb(&model, &test.batch()).unwrap().images;
            let rows =
                logits::rows(&model.logits(&images).unwrap(), &test.ids, &test.labels).unwrap();
            for (row, &label) in rows.iter().zip(&test.labels) {
                let margin = logits::margin(row, label);
                assert!(
                    margin < 0.0 && margin <= -confidence as f32,
                    "{preset} {margin}"
                );
            }
            let change = (images - test.batch().images()).unwrap();
            let squares = change.sqr().unwrap().flatten_from(1).unwrap();
            squared_norms.push(floats(&squares.sum(1).unwrap()));
        }
        for (careless, confident) in squared_norms[0].iter().zip(&squared_norms[1]) {
            assert!(careless < confident);
        }
    }
}

#[test]
fn cw_on_the_margin_alone_ends_at_the_first_misclassified_iterate_and_ignores_the_distance() {
    let model = TestModel::mlp(6);
    let test = TestBatch::confident(&model, 4);
    let mut config = AttackConfig::preset(Preset::Published);
    config.cw.lr = 0.0005;
    let distance_of = |config: &AttackConfig, steps: u32| {
        let mut cw = config.cw.clone();
        cw.steps = steps;
        let result = cw.perturb(&model, &test.batch()).unwrap();
        let rows = model.logits(&result.images).unwrap();
        let rows = logits::rows(&rows, &test.ids, &test.labels).unwrap();
        let fooled = rows.iter().zip(&test.labels);
        let fooled: Vec<bool> = fooled
            .map(|(row, &label)| logits::argmax(row) != label)
            .collect();
        (result.steps, fooled)
    };
    let (steps, fooled) = distance_of(&config, 100);
    assert_eq!(fooled, [true; 4]);
    for (image, &taken) in steps.iter().enumerate() {
        // The iterate before the result, which is where fewer steps end, is still classified correctly.
        assert!(taken > 2 && taken < 100, "{steps:?}");
        let before = distance_of(&config, taken - 2);
        assert!(!before.1[image], "image {image}: {steps:?}");
    }
    // The weight of the margin is the only scale, and Adam ignores it.
    config.cw.c = 7.0;
    assert_eq!(distance_of(&config, 100).0, steps);
}

#[test]
fn the_gradient_sign_is_that_of_candles_own_cross_entropy() {
    let model = TestModel::mlp(7);
    let test = TestBatch::of(&model, random_images(3));
    let batch = test.batch();
    let pixels = gradient::variable(batch.images()).unwrap();
    let labels: Vec<u32> = test.labels.iter().map(|&l| u32::from(l)).collect();
    let labels = Tensor::from_vec(labels, 3, &Device::Cpu).unwrap();
    let logits = model.logits(&pixels).unwrap();
    let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
    let loss = candle_nn::loss::nll(&log_p, &labels).unwrap();
    let expected = floats(&gradient::unchecked(&pixels, &loss).unwrap());
    let found = cross_entropy_gradient(&model, batch.images(), batch.labels(), batch.ids());
    let found = floats(&found.unwrap().sign().unwrap());
    let size = expected.iter().fold(0f32, |size, g| size.max(g.abs()));
    let clear = std::iter::zip(&expected, &found).filter(|(g, _)| g.abs() > 1e-4 * size);
    assert!(clear.clone().count() > IMAGE_BYTES);
    clear.for_each(|(g, sign)| assert_eq!(g.signum(), *sign));
}

#[test]
fn nst_descends_towards_the_style_images_map() {
    let model = TestModel::mlp(8);
    let test = TestBatch::of(&model, random_images(2));
    let batch = test.batch();
    // The test model's stage-1 map is x + x^2, which gives the gradient in closed form.
    let mut config = AttackConfig::preset(Preset::Paper);
    (config.nst.steps, config.nst.content_weight) = (2, 0.0);
    config.nst.lr = 10.0;
    let style = floats(&batch.style_images().unwrap());
    let grad = |x: f64, style: f64| {
        let difference = x + x * x - style - style * style;
        2.0 * difference * (1.0 + 2.0 * x) / IMAGE_BYTES as f64 + 5e-4 * x
    };
    let expected = floats(batch.images())
        .into_iter()
        .zip(style)
        .map(|(x, style)| {
            let (x, style) = (f64::from(x), f64::from(style));
            let first = grad(x, style);
            let once = x - 10.0 * first;
            once - 10.0 * (0.9 * first + grad(once, style))
        });
    close(&perturbed(&config.nst, &model, &batch), expected, 1e-6);

    // A step of the standard preset is as long as the learning rate says.
    let mut config = AttackConfig::preset(Preset::Standard);
    config.nst.steps = 1;
    let images = config.nst.perturb(&model, &batch).unwrap().images;
    let change = (images - batch.images()).unwrap().sqr().unwrap();
    let squares = floats(&change.flatten_from(1).unwrap().sum(1).unwrap());
    close(&squares, [config.nst.lr.powi(2); 2].into_iter(), 1e-6);
}
