//! Properties of every attack of the registry, under both presets; [`AttackTraits`](crate::AttackTraits)
//! says how attacks differ.

mod by_hand;
mod stored;

use super::{
    AttackConfig, AttackKind, Preset, Sample, run,
    toy::{Lot, Toy, pictures},
};
use data::{CLASSES, IMAGE_BYTES};

/// Every attack of the registry under both presets.
fn each(test: impl Fn(AttackKind, &AttackConfig, &str)) {
    for preset in [Preset::Paper, Preset::Standard] {
        let config = AttackConfig::preset(preset);
        for kind in AttackKind::ALL {
            test(kind, &config, &format!("{kind} {preset}"));
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
    each(|kind, config, name| {
        let together = samples(config, kind, &net, &lot);
        let order = [3, 0, 4, 2, 1];
        let shuffled = samples(config, kind, &net, &lot.rows(&order));
        for (place, &row) in order.iter().enumerate() {
            assert!(
                shuffled[place] == together[row],
                "{name}: image {row}, shuffled"
            );
            let alone = samples(config, kind, &net, &lot.rows(&[row]));
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
        each(|kind, config, name| {
            let config = &config.clone().overlay(text, "test").unwrap();
            let samples = samples(config, kind, &net, &lot);
            let fooled = std::iter::zip(&samples, &lot.labels)
                .filter(|(sample, label)| sample.pred != **label)
                .count();
            assert!(!kind.traits().strong || fooled >= 7, "{name}: {fooled}");
            for sample in &samples[..7] {
                assert!(sample.l2 > 0.0 && sample.linf > 0.0, "{name}");
                assert!(sample.steps > 0, "{name}");
            }
            // There DeepFool does not know that half of its step is clipped away, and the slope
            // of tanh is nearly nothing.
            let corner =
                kind.traits().strong && kind != AttackKind::DeepFool && name != "cw standard";
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
    each(|kind, config, name| {
        let samples = samples(config, kind, &net, &lot);
        let spared = samples[1].pixels == lot.bytes[IMAGE_BYTES..2 * IMAGE_BYTES];
        assert_eq!(spared, kind.traits().skips_misclassified, "{name}");
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
    each(|kind, config, name| {
        for (sample, clean) in samples(config, kind, &net, &lot)
            .iter()
            .zip(lot.bytes.chunks_exact(IMAGE_BYTES))
        {
            assert_eq!((sample.pred, sample.pred_float), (4, 4), "{name}");
            assert!(
                !kind.traits().needs_gradient || sample.pixels == clean,
                "{name}"
            );
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
    each(|kind, config, name| {
        let config = config.clone().overlay(text, "test").unwrap();
        for (sample, clean) in samples(&config, kind, &net, &lot)
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
