//! What holds for every attack, under both presets: one row per attack says how they differ.

mod by_hand;
mod stored;

use super::{
    AttackConfig, AttackKind, Preset, Sample, run,
    toy::{Lot, Toy, pictures},
};
use data::{CLASSES, IMAGE_BYTES};

/// How an attack differs from the others.
struct Case {
    kind: AttackKind,
    /// An image that the model gets wrong already stays as it is.
    spares_wrong_ones: bool,
    /// A model without gradient leaves the image as it is.
    needs_gradient: bool,
    /// Fools the toy models on nearly all images.
    strong: bool,
}

const fn case(
    kind: AttackKind,
    spares_wrong_ones: bool,
    needs_gradient: bool,
    strong: bool,
) -> Case {
    Case {
        kind,
        spares_wrong_ones,
        needs_gradient,
        strong,
    }
}

const CASES: [Case; 6] = [
    case(AttackKind::Gaussian, false, false, false),
    case(AttackKind::Fgsm, false, true, true),
    case(AttackKind::Bim, false, true, true),
    case(AttackKind::DeepFool, true, true, true),
    case(AttackKind::Cw, true, true, true),
    case(AttackKind::Nst, false, false, false),
];

fn each(test: impl Fn(&Case, &AttackConfig, &str)) {
    assert_eq!(CASES.each_ref().map(|case| case.kind), AttackKind::ALL);
    for preset in [Preset::Paper, Preset::Standard] {
        let config = AttackConfig::preset(preset);
        for case in &CASES {
            test(case, &config, &format!("{} {preset}", case.kind));
        }
    }
}

fn samples(config: &AttackConfig, kind: AttackKind, net: &Toy, lot: &Lot) -> Vec<Sample> {
    run(&*config.build(kind), net, &lot.batch(), &lot.bytes).unwrap()
}

#[test]
fn a_sample_depends_on_its_picture_and_not_on_the_batch() {
    let net = Toy::mlp(1);
    let lot = Lot::of(&net, pictures(5));
    each(|case, config, name| {
        let together = samples(config, case.kind, &net, &lot);
        let order = [3, 0, 4, 2, 1];
        let shuffled = samples(config, case.kind, &net, &lot.rows(&order));
        for (place, &row) in order.iter().enumerate() {
            assert!(
                shuffled[place] == together[row],
                "{name}: image {row}, shuffled"
            );
            let alone = samples(config, case.kind, &net, &lot.rows(&[row]));
            assert!(alone[0] == together[row], "{name}: image {row}, alone");
        }
    });
}

#[test]
fn strong_attacks_fool_nets_also_where_pixels_are_saturated_and_logits_negative() {
    // Without overshoot DeepFool ends on the boundary of models as straight as these.
    let text = "[deepfool]\novershoot = 0.02";
    for net in [
        Toy::random_linear(3),
        Toy::mlp(5),
        Toy::mlp(5).plus(&[-60.0; CLASSES]),
    ] {
        // The last image has only pixels of exactly 0 and 1.
        let mut bytes = pictures(8);
        bytes[7 * IMAGE_BYTES..]
            .iter_mut()
            .for_each(|b| *b = if *b < 128 { 0 } else { 255 });
        let lot = Lot::of(&net, bytes);
        each(|case, config, name| {
            let config = &config.clone().overlay(text, "test").unwrap();
            let samples = samples(config, case.kind, &net, &lot);
            let fooled = std::iter::zip(&samples, &lot.labels)
                .filter(|(sample, label)| sample.pred != **label)
                .count();
            assert!(!case.strong || fooled >= 7, "{name}: {fooled}");
            for sample in &samples[..7] {
                assert!(sample.l2 > 0.0 && sample.linf > 0.0, "{name}");
                assert!(sample.steps > 0, "{name}");
            }
            // There DeepFool does not know that half of its step is clipped away, and the slope
            // of tanh is nearly nothing.
            let corner = case.strong && case.kind != AttackKind::DeepFool && name != "cw standard";
            assert!(!corner || samples[7].pred != lot.labels[7], "{name}");
        });
    }
}

#[test]
fn wrong_pictures_are_spared_by_the_attacks_that_say_so_and_perturbed_by_the_others() {
    let net = Toy::mlp(2);
    let mut lot = Lot::of(&net, pictures(3));
    let classes = lot.labels.clone();
    lot.labels[1] = (lot.labels[1] + 1) % 10;
    each(|case, config, name| {
        let samples = samples(config, case.kind, &net, &lot);
        let spared = samples[1].pixels == lot.bytes[IMAGE_BYTES..2 * IMAGE_BYTES];
        assert_eq!(spared, case.spares_wrong_ones, "{name}");
        if spared {
            assert_eq!(
                (samples[1].pred, samples[1].steps),
                (classes[1], 0),
                "{name}"
            );
            assert_eq!((samples[1].l2, samples[1].linf), (0.0, 0.0), "{name}");
        }
        assert!(samples[0].steps > 0 && samples[2].steps > 0, "{name}");
    });
}

#[test]
fn a_net_without_gradient_breaks_nothing() {
    let mut bias = [-1.0; CLASSES];
    bias[4] = -0.5;
    let net = Toy::constant(&bias);
    let lot = Lot::of(&net, pictures(2));
    each(|case, config, name| {
        for (sample, clean) in samples(config, case.kind, &net, &lot)
            .iter()
            .zip(lot.bytes.chunks_exact(IMAGE_BYTES))
        {
            assert_eq!((sample.pred, sample.pred_float), (4, 4), "{name}");
            assert!(!case.needs_gradient || sample.pixels == clean, "{name}");
        }
    });
}

#[test]
fn an_attack_that_fails_leaves_a_picture_that_is_still_right() {
    let mut bias = [0.0; CLASSES];
    bias[2] = 90.0;
    let net = Toy::mlp(4).plus(&bias);
    let lot = Lot::of(&net, pictures(3));
    assert_eq!(lot.labels, [2; 3]);
    // DeepFool gets anywhere in the end; nobody gets there in one step.
    let text = "[deepfool]\nsteps = 1\nstep_scale = 0.1\n[cw]\nsteps = 1\n";
    each(|case, config, name| {
        let config = config.clone().overlay(text, "test").unwrap();
        for (sample, clean) in samples(&config, case.kind, &net, &lot)
            .iter()
            .zip(lot.bytes.chunks_exact(IMAGE_BYTES))
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
