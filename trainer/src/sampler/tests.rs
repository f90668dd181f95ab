//! The sampler with every policy, and the strategies of bounds and weights for the parts' tests.

use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("attack{i}")).collect()
}

/// Feasible bounds of 1 to 6 attacks around some mixture; some of them closed to a point or narrow.
pub fn bounds() -> impl Strategy<Value = Bounds> {
    let slack = prop_oneof![Just(0.0), 0.0..1e-9f64, 0.0..0.05f64, 0.0..1.0f64];
    let attack = (0.001..1.0f64, slack.clone(), slack);
    proptest::collection::vec(attack, 1..=6).prop_map(|attacks| {
        let total: f64 = attacks.iter().map(|(p, ..)| p).sum();
        let range = |(i, (p, below, above)): (usize, &(f64, f64, f64))| {
            let low = (p / total - below).max(0.0);
            format!("attack{i}={low}..{}", (p / total + above).clamp(low, 1.0))
        };
        let text: Vec<String> = attacks.iter().enumerate().map(range).collect();
        Bounds::parse(&text.join(","), &names(attacks.len())).unwrap()
    })
}

/// Weights beyond what probabilities can be.
pub fn weights(count: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(-2.0..2.0f64, count)
}

fn sampler(seed: u64, share: &str, bounds: &str, name: &str) -> Sampler {
    let attacks = ["gaussian", "fgsm", "bim", "cw"].map(String::from);
    let bounds = Bounds::parse(bounds, &attacks).unwrap();
    let policy = policy(name, Options::default()).unwrap();
    Sampler::new(seed, share.parse().unwrap(), bounds, policy)
}

const ERRORS: [f64; 4] = [0.1, 0.8, 0.3, 0.5];

#[test]
fn draw_frequencies_are_the_mixtures_probabilities() {
    let sampler = sampler(5, "0.6", "bim=0,cw=0.5..0.7", "uniform");
    let mut found = [0.0; 5];
    let n = 100_000;
    for id in 0..n {
        found[sampler.draw(id % 7, id)] += 1.0 / n as f64;
    }
    let Mixture {
        share,
        probabilities,
    } = sampler.mixture();
    let adversarial = probabilities.iter().map(|p| share * p);
    let expected: Vec<f64> = std::iter::once(1.0 - share).chain(adversarial).collect();
    for (frequency, expected) in found.iter().zip(&expected) {
        // Five standard deviations.
        let spread = (expected * (1.0 - expected) / n as f64).sqrt();
        let off = (frequency - expected).abs();
        assert!(off <= 5.0 * spread, "{frequency} {expected}");
    }
    assert_eq!(found[3], 0.0);
}

#[test]
fn adversarial_shares_of_0_and_1_are_exact() {
    let clean = sampler(1, "0", "", "fixed");
    let adversarial = sampler(1, "1", "", "fixed");
    for id in 0..1000 {
        assert_eq!(clean.draw(0, id), 0);
        assert!((1..=4).contains(&adversarial.draw(0, id)));
    }
}

#[test]
fn draws_are_a_function_of_epoch_image_and_seed_alone() {
    let one = sampler(1, "0.5", "", "fixed");
    let draws = |sampler: &Sampler, epoch| -> Vec<usize> {
        (0..200).map(|id| sampler.draw(epoch, id)).collect()
    };
    let mut backwards: Vec<usize> = (0..200).rev().map(|id| one.draw(3, id)).collect();
    backwards.reverse();
    assert_eq!(draws(&one, 3), backwards);
    assert_ne!(draws(&one, 3), draws(&one, 4));
    assert_ne!(draws(&one, 3), draws(&sampler(2, "0.5", "", "fixed"), 3));
}

#[test]
fn every_policy_resumed_goes_on_bit_for_bit() {
    for entry in POLICIES {
        let new = || sampler(9, "0.25..0.75", "fgsm=0.1..0.4,cw=0.05..0.3", entry.name);
        let mut whole = new();
        for period in 0..5 {
            whole.redraw(period, Some(&ERRORS)).unwrap();
        }
        let saved = serde_json::to_string(&whole.state()).unwrap();
        let mut resumed = new();
        resumed
            .restore(&serde_json::from_str(&saved).unwrap())
            .unwrap();
        assert_eq!(resumed.mixture(), whole.mixture(), "{}", entry.name);
        for period in 5..10 {
            whole.redraw(period, Some(&ERRORS)).unwrap();
            resumed.redraw(period, Some(&ERRORS)).unwrap();
        }
        assert_eq!(resumed.mixture(), whole.mixture(), "{}", entry.name);
    }
}

#[test]
fn a_new_sampler_has_the_mixture_of_period_0() {
    for entry in POLICIES {
        let mut sampler = sampler(4, "0.25..0.75", "", entry.name);
        let before = sampler.mixture().clone();
        sampler.redraw(0, None).unwrap();
        assert_eq!(*sampler.mixture(), before, "{}", entry.name);
        sampler.redraw(1, Some(&ERRORS)).unwrap();
        assert_ne!(*sampler.mixture(), before, "{}", entry.name);
    }
}

#[test]
fn a_sampler_state_outside_the_bounds_is_refused() {
    let mut sampler = sampler(1, "0.25..0.75", "cw=0.05..0.3", "adaptive");
    for state in [
        r#"{"share":"0.9","probabilities":["0.25","0.25","0.25","0.25"]}"#,
        r#"{"share":"0.5","probabilities":["0.5","0.25","0.25"]}"#,
        r#"{"share":"0.5","probabilities":["0.2","0.2","0.2","0.4"]}"#,
        r#"{"share":"0.5","probabilities":["0.25","0.25","0.25","0.2"]}"#,
        r#"{"share":"0.5","probabilities":["0.25","0.25","0.25","NaN"]}"#,
        r#"{"share":"x","probabilities":["0.25","0.25","0.25","0.25"]}"#,
    ] {
        let error = sampler
            .restore(&serde_json::from_str(state).unwrap())
            .unwrap_err();
        assert_eq!(error.exit_code(), 3, "{state}");
    }
    assert_eq!(sampler.redraw(1, Some(&[0.5])).unwrap_err().exit_code(), 3);
}

#[test]
fn unknown_policies_and_invalid_etas_are_refused() {
    let refused = |name, eta| policy(name, Options { eta }).err().map(|e| e.exit_code());
    assert_eq!(refused("random", 1.0), Some(2));
    assert_eq!(refused("adaptive", -1.0), Some(2));
    assert_eq!(refused("adaptive", f64::NAN), Some(2));
    assert_eq!(refused("adaptive", 0.0), None);
}

proptest! {
    #[test]
    fn every_policy_stays_within_share_and_bounds(bounds in bounds(), seed: u64, period: u64) {
        for entry in POLICIES {
            let share: Share = "0.25..0.75".parse().unwrap();
            let policy = policy(entry.name, Options::default()).unwrap();
            let mut sampler = Sampler::new(seed, share, bounds.clone(), policy);
            sampler.redraw(period, Some(&vec![0.5; bounds.count()])).unwrap();
            let mixture = sampler.mixture();
            prop_assert!(share.contains(mixture.share));
            prop_assert!(bounds.contain(&mixture.probabilities), "{} {mixture:?}", entry.name);
        }
    }
}

#[test]
fn mixtures_and_draws_are_those_of_the_python_sampler() {
    // python/test_mithridate.py wrote the file and asks Python's sampler for the same.
    let golden = include_str!("../../../python/golden.json");
    let golden: Vec<serde_json::Value> = serde_json::from_str(golden).unwrap();
    let attacks = ["gaussian", "fgsm", "bim", "deepfool", "cw", "nst"].map(String::from);
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        let all = value.as_array().unwrap().iter();
        all.map(|number| number.as_f64().unwrap()).collect()
    };
    for case in &golden {
        let text = |name: &str| case[name].as_str().unwrap();
        let mut sampler = Sampler::new(
            case["seed"].as_u64().unwrap(),
            text("adv_ratio").parse().unwrap(),
            Bounds::parse(text("bounds"), &attacks).unwrap(),
            policy(text("policy"), Options { eta: 0.1 }).unwrap(),
        );
        for epoch in case["epochs"].as_array().unwrap() {
            let number = epoch["epoch"].as_u64().unwrap();
            sampler.redraw(number, None).unwrap();
            let mixture = sampler.mixture();
            assert_eq!(mixture.share, epoch["share"].as_f64().unwrap());
            assert_eq!(mixture.probabilities, numbers(&epoch["probabilities"]));
            for (image, &variant) in (0..).step_by(1001).zip(&numbers(&epoch["draws"])) {
                assert_eq!(sampler.draw(number, image) as f64, variant, "image {image}");
            }
        }
    }
}
