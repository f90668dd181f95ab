//! Properties of every attack of the registry, under every preset; [`AttackTraits`](crate::AttackTraits)
//! says how attacks differ.

mod by_hand;
pub mod model;
mod stored;

use candle_core::{Device, Tensor};

use super::{
    AttackConfig, AttackKind, Preset, Sample, generate, gradient,
    padding::{PaddedModel, Padding},
    quantize,
};
use base::{Error, Result};
use data::IMAGE_BYTES;
use model::{CLASSES, TestBatch, TestModel, random_images};
use nn::model::{Classifier, Features};

/// Every attack of the registry under every preset.
fn each(property: impl Fn(AttackKind, &AttackConfig, &str)) {
    for preset in Preset::ALL {
        let config = AttackConfig::preset(preset);
        for kind in AttackKind::ALL {
            property(kind, &config, &format!("{kind} {preset}"));
        }
    }
}

fn samples(
    config: &AttackConfig,
    kind: AttackKind,
    model: &TestModel,
    test: &TestBatch,
) -> Vec<Sample> {
    generate(&*config.build(kind), model, &test.batch()).unwrap()
}

#[test]
fn a_sample_depends_on_its_image_and_not_on_the_batch() {
    let model = TestModel::mlp(1);
    let test = TestBatch::of(&model, random_images(5));
    each(|kind, config, name| {
        let together = samples(config, kind, &model, &test);
        let order = [3, 0, 4, 2, 1];
        let shuffled = samples(config, kind, &model, &test.rows(&order));
        for (place, &row) in order.iter().enumerate() {
            assert!(
                shuffled[place] == together[row],
                "{name}: image {row}, shuffled"
            );
            let alone = samples(config, kind, &model, &test.rows(&[row]));
            assert!(alone[0] == together[row], "{name}: image {row}, alone");
        }
    });
}

#[test]
fn no_sample_depends_on_the_padding_of_batches() {
    let model = TestModel::mlp(1);
    let test = TestBatch::of(&model, random_images(5));
    // Five images are padded to eight, whatever the batch was at first.
    let padded = PaddedModel::new(&model, Padding::always(512));
    each(|kind, config, name| {
        let attack = config.build(kind);
        let found = generate(&*attack, &padded, &test.batch()).unwrap();
        assert!(found == samples(config, kind, &model, &test), "{name}");
    });
}

#[test]
fn a_padded_model_has_the_outputs_and_gradients_of_the_images_alone() {
    let model = TestModel::mlp(2);
    let padded = PaddedModel::new(&model, Padding::always(512));
    let bytes = random_images(3);
    let images = quantize::to_tensor(&bytes, &Device::Cpu).unwrap();
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let grads = Tensor::randn(0f32, 1.0, (2, CLASSES), &Device::Cpu).unwrap();
    let results = [&model as &dyn Classifier, &padded].map(|model| {
        let pixels = gradient::variable(&images).unwrap();
        let features = model.features(&pixels).unwrap();
        assert_eq!(features.logits.dims(), [3, CLASSES]);
        let loss = features.maps[1].sum_all().unwrap() + features.logits.sum_all().unwrap();
        let gradient = gradient::unchecked(&pixels, &loss.unwrap()).unwrap();
        let mut linearized = model.linearized(&images).unwrap();
        let logits = values(linearized.logits());
        let vjp = linearized
            .vjp(&[2, 0], std::slice::from_ref(&grads))
            .unwrap();
        let maps: Vec<_> = features.maps.iter().map(values).collect();
        (logits, values(&gradient), values(&vjp[0]), maps)
    });
    assert!(results[0] == results[1]);
}

#[test]
fn strong_attacks_fool_models_also_where_pixels_are_saturated_and_logits_negative() {
    // Without overshoot DeepFool ends on the boundary of models as straight as these.
    let text = "[deepfool]\novershoot = 0.02";
    for model in [
        TestModel::random_linear(3),
        TestModel::mlp(5),
        TestModel::mlp(5).plus(&[-60.0; CLASSES]),
    ] {
        // The last image has only pixels of exactly 0 and 1.
        let mut bytes = random_images(8);
        bytes[7 * IMAGE_BYTES..]
            .iter_mut()
            .for_each(|b| *b = if *b < 128 { 0 } else { 255 });
        let test = TestBatch::of(&model, bytes);
        each(|kind, config, name| {
            let config = &config.clone().overlay(text, "test").unwrap();
            let samples = samples(config, kind, &model, &test);
            let fooled = std::iter::zip(&samples, &test.labels)
                .filter(|(sample, label)| sample.pred != **label)
                .count();
            assert!(!kind.traits().strong || fooled >= 7, "{name}: {fooled}");
            for sample in &samples[..7] {
                assert!(sample.l2 > 0.0 && sample.linf > 0.0, "{name}");
                assert!(sample.steps > 0, "{name}");
            }
            // There half of DeepFool's step is clipped away, and the derivative of tanh is nearly 0.
            let corner =
                kind.traits().strong && kind != AttackKind::DeepFool && name != "cw standard";
            assert!(!corner || samples[7].pred != test.labels[7], "{name}");
        });
    }
}

#[test]
fn misclassified_images_are_skipped_by_the_attacks_whose_traits_say_so_and_perturbed_by_the_others()
{
    let model = TestModel::mlp(2);
    let mut test = TestBatch::of(&model, random_images(3));
    let predicted = test.labels.clone();
    test.labels[1] = (test.labels[1] + 1) % 10;
    each(|kind, config, name| {
        let samples = samples(config, kind, &model, &test);
        let skipped = samples[1].pixels == test.bytes[IMAGE_BYTES..2 * IMAGE_BYTES];
        assert_eq!(skipped, kind.traits().skips_misclassified, "{name}");
        if skipped {
            assert_eq!(
                (samples[1].pred, samples[1].steps),
                (predicted[1], 0),
                "{name}"
            );
            assert_eq!((samples[1].l2, samples[1].linf), (0.0, 0.0), "{name}");
        }
        assert!(samples[0].steps > 0 && samples[2].steps > 0, "{name}");
    });
}

#[test]
fn a_model_with_zero_gradient_breaks_no_attack() {
    let mut bias = [-1.0; CLASSES];
    bias[4] = -0.5;
    let model = TestModel::constant(&bias);
    let test = TestBatch::of(&model, random_images(2));
    each(|kind, config, name| {
        for (sample, clean) in samples(config, kind, &model, &test)
            .iter()
            .zip(test.bytes.chunks_exact(IMAGE_BYTES))
        {
            assert_eq!((sample.pred, sample.pred_float), (4, 4), "{name}");
            assert!(
                !kind.traits().needs_gradient || sample.pixels == clean,
                "{name}"
            );
        }
    });
}

/// A model that refuses every question.
struct NoModel;

impl Classifier for NoModel {
    fn features(&self, _: &Tensor) -> Result<Features> {
        Err(Error::invalid("no model", "it was asked"))
    }
}

#[test]
fn adversarial_attacks_and_no_others_use_the_model() {
    let test = TestBatch::of(&TestModel::mlp(1), random_images(3));
    each(|kind, config, name| {
        let perturbed = config.build(kind).perturb(&NoModel, &test.batch());
        let asked = perturbed.is_err_and(|error| error.to_string().contains("it was asked"));
        assert_eq!(asked, kind.traits().adversarial, "{name}");
    });
}

#[test]
fn an_attack_that_fails_leaves_an_image_that_is_still_classified_right() {
    let mut bias = [0.0; CLASSES];
    bias[2] = 90.0;
    let model = TestModel::mlp(4).plus(&bias);
    let test = TestBatch::of(&model, random_images(3));
    assert_eq!(test.labels, [2; 3]);
    // With enough steps DeepFool always succeeds; with one short step it cannot.
    let text = "[deepfool]\nsteps = 1\nstep_scale = 0.1\n[cw]\nsteps = 1\n";
    each(|kind, config, name| {
        let config = config.clone().overlay(text, "test").unwrap();
        for (sample, clean) in samples(&config, kind, &model, &test)
            .iter()
            .zip(test.bytes.chunks_exact(IMAGE_BYTES))
        {
            assert_eq!((sample.pred, sample.pred_float), (2, 2), "{name}");
            if name == "cw standard" {
                assert_eq!(sample.pixels, clean);
            }
            if name == "cw paper" {
                assert!(sample.l2 > 0.0, "the last iterate");
            }
        }
    });
}
