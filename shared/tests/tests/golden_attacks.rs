//! The attacks against torchattacks' and, where it has none, PyTorch's: a trained model and twelve
//! images come in; iterates and results must be the same. Images 10 and 11 are misclassified
//! from the start.

#[path = "common/arena.rs"]
mod arena;
mod common;
#[path = "common/exact.rs"]
mod exact;

use arena::{Arena, End, PICTURES, clip, picture_of};
use attacks::{AttackKind, Preset};
use candle_core::{DType, Var};
use common::{GRADIENT, VALUE, nothing_wrong, thin};
use nn::model::Classifier;

const PRESETS: [Preset; 2] = [Preset::Standard, Preset::Paper];

#[test]
fn the_attacked_net_has_pytorchs_logits_and_gradients() {
    let Arena {
        golden,
        net,
        images,
        ..
    } = Arena::open();
    let pixels = Var::from_tensor(&images).unwrap();
    let logits = net.logits(&pixels).unwrap();
    let labels = golden.get("labels").to_dtype(DType::U32).unwrap();
    let loss = (nn::cross_entropy(&logits, &labels).unwrap() * PICTURES as f64).unwrap();
    let gradients = loss.backward().unwrap();
    nothing_wrong([
        golden.complaint("logits", &logits, VALUE),
        golden.complaint("gradient", gradients.get(&pixels).unwrap(), GRADIENT),
    ]);
}

/// FGSM and BIM move by the gradient's sign alone. A pixel whose gradient was once 100,000 times
/// smaller than the largest of its image is left out: its sign is rounding's.
#[test]
fn sign_attacks_end_on_torchattacks_pixels() {
    let arena = Arena::open();
    for kind in [AttackKind::Fgsm, AttackKind::Bim] {
        for preset in PRESETS {
            let attack = format!("{kind}_{preset}");
            let gradient = match kind {
                AttackKind::Fgsm => arena.golden.floats("gradient"),
                _ => arena.golden.floats(&format!("{attack}/gradient")),
            };
            let mut largest = [0f32; PICTURES];
            for (i, g) in gradient.iter().enumerate() {
                let largest = &mut largest[picture_of(i)];
                *largest = largest.max(g.abs());
            }
            let ours = clip(&arena.perturb(&arena.exact, preset, kind, "").images);
            arena.same_ends(&attack, &ours);

            let theirs = arena.golden.floats(&format!("{attack}/final"));
            let ours = thin(&ours);
            assert_eq!((ours.len(), gradient.len()), (theirs.len(), theirs.len()));
            let clear = |i: &usize| gradient[*i].abs() > 1e-5 * largest[picture_of(*i)];
            let compared: Vec<usize> = (0..ours.len()).filter(clear).collect();
            println!("{attack}: {} of {} pixels", compared.len(), ours.len());
            assert!(
                compared.len() as f64 > 0.995 * ours.len() as f64,
                "{attack}"
            );
            for i in compared {
                let (a, b) = (ours[i], theirs[i]);
                assert!(
                    (a - b).abs() < 1e-6,
                    "{attack}, element {i}: {a}, expected {b}"
                );
            }
        }
    }
}

/// Each iterate, not the last alone, must be torchattacks'. Most results lie on a boundary of
/// the model, where who wins and whether one more tiny step is taken is rounding's choice.
#[test]
fn deepfool_walks_torchattacks_way() {
    let arena = Arena::open();
    for preset in PRESETS {
        let attack = format!("deepfool_{preset}");
        nothing_wrong((1..=3).map(|steps| {
            let ours = arena.perturb(
                &arena.exact,
                preset,
                AttackKind::DeepFool,
                &format!("steps = {steps}"),
            );
            arena.complaint_of(&format!("{attack}/x{steps}"), &ours.images)
        }));
        let ours = arena.perturb(&arena.exact, preset, AttackKind::DeepFool, "");
        nothing_wrong([arena.complaint_of(&format!("{attack}/final"), &ours.images)]);
        arena.same_ends(&attack, &ours.images);
        let theirs = arena.golden_ends(&attack);
        let steps = arena.golden.floats(&format!("{attack}/steps"));
        for i in (0..PICTURES).filter(|&i| theirs[i].decided()) {
            assert_eq!(ours.steps[i] as f32, steps[i], "{attack}, image {i}");
        }
    }
}

/// An attack of k steps that is told to give its last iterate gives x_k, but for an image that
/// was fooled on the way: that one it gives as it was then.
#[test]
fn carlini_and_wagner_walk_the_references_way() {
    let arena = Arena::open();
    for preset in PRESETS {
        let mut fooled_at = [None; PICTURES];
        for steps in 1..=3 {
            let changes = format!("steps = {steps}\nearly_stop = false\non_failure = \"last\"");
            let ours = arena
                .perturb(&arena.exact, preset, AttackKind::Cw, &changes)
                .images;
            let expected = fooled_at.map(|at| format!("cw_{preset}/x{}", at.unwrap_or(steps)));
            nothing_wrong([arena.complaint(&ours, &expected, preset == Preset::Paper)]);
            for (at, end) in fooled_at.iter_mut().zip(arena.ends(&ours)) {
                assert!(end.decided(), "{preset}, step {steps}: {end:?}");
                if end.fooled() {
                    at.get_or_insert(steps);
                }
            }
        }
        let strict = fooled_at
            .iter()
            .filter(|at| at.is_none_or(|k| k > 2))
            .count();
        assert!(
            strict >= 8,
            "{preset}: {strict} images were compared at each step"
        );
    }
}

#[test]
fn carlini_and_wagner_end_where_the_reference_ends() {
    let arena = Arena::open();
    let cases = [
        ("cw_standard", Preset::Standard, "", 100.0),
        ("cw_kappa", Preset::Standard, "confidence = 3", 100.0),
        ("cw_short", Preset::Standard, "steps = 8", 8.0),
        ("cw_paper", Preset::Paper, "", 100.0),
    ];
    for (attack, preset, changes, most) in cases {
        let ours = arena.perturb(&arena.net, preset, AttackKind::Cw, changes);
        let sways = arena.sways(preset, AttackKind::Cw, changes, &ours);
        let same = arena.similar_ends(attack, &ours.images, &sways);
        let count = same.iter().filter(|same| **same).count();
        assert!(count >= PICTURES - 3, "{attack}: {count} ends are the same");
        if preset == Preset::Paper {
            assert_eq!(ours.steps, [[100; 10].as_slice(), &[0, 0]].concat());
            continue;
        }
        // The reference does not count the step before the look that ends a search, which
        // changes nothing any more; torchattacks, like us, takes it and then looks.
        let theirs = arena.golden.floats(&format!("{attack}/steps"));
        let expected: Vec<u32> = std::iter::zip(&theirs, 0..)
            .map(|(&taken, i)| taken as u32 + u32::from(taken < most && i < 10))
            .collect();
        for i in (0..PICTURES).filter(|&i| !sways[i]) {
            assert_eq!(ours.steps[i], expected[i], "{attack}, image {i}");
        }
        let steady = sways.iter().filter(|sways| !**sways).count();
        assert!(
            steady >= PICTURES - 3,
            "{attack}: {steady} images are steady"
        );
    }
}

/// torchattacks stops all images together, by the sum of their objectives, so its results
/// depend on the batch and ours do not. Without a stop each of ours must be at least as near,
/// since it saw the same iterates and more; with ours the mean distance grows by 7%.
#[test]
fn carlini_and_wagner_succeed_as_often_and_as_near_as_torchattacks() {
    let arena = Arena::open();
    let theirs = arena.golden_ends("cw_torchattacks");
    let mean = |ends: &[End]| ends.iter().map(|end| end.l2).sum::<f32>() / ends.len() as f32;
    let run = |changes| {
        arena.ends(
            &arena
                .perturb(&arena.net, Preset::Standard, AttackKind::Cw, changes)
                .images,
        )
    };
    let (stopped, unstopped) = (run(""), run("early_stop = false"));
    for ends in [&stopped, &unstopped, &theirs] {
        assert!(ends.iter().all(|end| end.fooled()));
    }
    for (ours, theirs) in unstopped.iter().zip(&theirs) {
        assert!(ours.l2 <= theirs.l2 * 1.0001, "{ours:?} {theirs:?}");
    }
    let ratio = |ends| mean(ends) / mean(&theirs);
    println!(
        "{:.3} stopped, {:.3} not",
        ratio(&stopped),
        ratio(&unstopped)
    );
    assert!(ratio(&unstopped) > 0.99 && ratio(&stopped) < 1.1);
}

/// After ten steps one unit of the model may be on either side of its bend, for PyTorch's f32 and
/// f64 too; `miss/nst_paper/x10` says how far apart they are.
#[test]
fn style_transfer_walks_the_references_way() {
    let arena = Arena::open();
    nothing_wrong([1, 2, 10].map(|steps| {
        let ours = arena.perturb(
            &arena.exact,
            Preset::Paper,
            AttackKind::Nst,
            &format!("steps = {steps}"),
        );
        if steps == 10 {
            arena.same_ends("nst_paper", &clip(&ours.images));
        }
        arena.complaint_of(&format!("nst_paper/x{steps}"), &ours.images)
    }));
}
