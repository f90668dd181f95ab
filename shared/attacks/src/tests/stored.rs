//! What is stored: bytes, judged as bytes, that fool the model nearly as often and as closely as
//! the floats did.

use candle_core::Tensor;

use crate::{
    Attack, AttackBatch, AttackConfig, AttackKind, Perturbed, Preset, quantize, run,
    toy::{Lot, Toy, pictures},
};
use base::Result;
use data::IMAGE_BYTES;
use nn::model::Classifier;

#[test]
fn bytes_fool_the_net_as_floats_do_at_hardly_more_distance() {
    let net = Toy::mlp(9);
    let lot = Lot::sure(&net, 60);
    for preset in [Preset::Paper, Preset::Standard] {
        // Without overshoot DeepFool ends on the boundary of a model as straight as this.
        let text = "[deepfool]\novershoot = 0.02";
        let config = AttackConfig::preset(preset);
        let config = config.overlay(text, "test").unwrap();
        for kind in [AttackKind::DeepFool, AttackKind::Cw] {
            let batch = lot.batch();
            let images = config.build(kind).perturb(&net, &batch).unwrap().images;
            let change = (images.clamp(0f32, 1f32).unwrap() - &batch.images).unwrap();
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
            let by_rounding = net.classes(&rounded);

            let samples = run(&*config.build(kind), &net, &batch, &lot.bytes).unwrap();
            let stored: Vec<u8> = samples.iter().flat_map(|s| s.pixels.clone()).collect();
            let preds: Vec<u8> = samples.iter().map(|s| s.pred).collect();
            assert_eq!(net.classes(&stored), preds, "pred is of the stored bytes");

            let count = |fooled: &dyn Fn(usize) -> bool| (0..60).filter(|&i| fooled(i)).count();
            let floats = count(&|i| samples[i].pred_float != lot.labels[i]);
            let nearest = count(&|i| by_rounding[i] != lot.labels[i]);
            let survived =
                count(&|i| samples[i].pred_float != lot.labels[i] && preds[i] != lot.labels[i]);
            let mut ratios: Vec<f64> = (0..60)
                .filter(|&i| samples[i].pred_float != lot.labels[i])
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
                "{kind} {preset}: the test has nothing to repair"
            );
            assert!(
                survived as f64 >= 0.99 * floats as f64,
                "{kind} {preset}: {survived}"
            );
            assert!(median <= 1.08, "{kind} {preset}: {median}");
        }
    }
}

/// Leaves what it is told.
struct Fixed(Vec<f32>);

impl Attack for Fixed {
    fn perturb(&self, _: &dyn Classifier, batch: &AttackBatch) -> Result<Perturbed> {
        let images = Tensor::from_slice(&self.0, batch.images.dims(), batch.images.device())?;
        let steps = vec![1; batch.ids.len()];
        Ok(Perturbed { images, steps })
    }
}

#[test]
fn pixels_are_clipped_and_a_pixel_that_is_not_finite_is_an_error_that_names_the_picture() {
    let net = Toy::random_linear(1);
    let lot = Lot::of(&net, pictures(2));
    let mut floats = vec![0.5; 2 * IMAGE_BYTES];
    (floats[0], floats[1], floats[2]) = (-3.0, 7.0, 0.1);
    let samples = run(&Fixed(floats.clone()), &net, &lot.batch(), &lot.bytes).unwrap();
    assert_eq!(samples[0].pixels[..4], [0, 255, 26, 128]);

    for value in [f32::NAN, f32::INFINITY] {
        floats[IMAGE_BYTES + 5] = value;
        let error = run(&Fixed(floats.clone()), &net, &lot.batch(), &lot.bytes).unwrap_err();
        assert!(error.to_string().contains("image 101"), "{error}");
        assert_eq!(error.exit_code(), 5);
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let net = Toy::random_linear(1);
    let mut lot = Lot::of(&net, pictures(2));
    let attack = Fixed(vec![0.5; 2 * IMAGE_BYTES]);
    let refused = |lot: &Lot, bytes: &[u8]| {
        run(&attack, &net, &lot.batch(), bytes)
            .unwrap_err()
            .exit_code()
    };
    assert_eq!(refused(&lot, &lot.bytes[1..]), 3);
    lot.labels[0] = 10;
    assert_eq!(refused(&lot, &lot.bytes), 3);
    lot.labels.pop();
    assert_eq!(refused(&lot, &lot.bytes), 3);
    let none = Lot {
        bytes: vec![],
        labels: vec![],
        ids: vec![],
    };
    assert_eq!(run(&attack, &net, &none.batch(), &[]).unwrap(), []);
}
