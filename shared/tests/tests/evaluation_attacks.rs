//! Test over the table of evaluation attacks: what each returns lies in the ball, is misclassified, and depends neither
//! on the batch nor on threads.

#[path = "common/attacked.rs"]
#[allow(dead_code, reason = "golden tests use the rest")]
mod attacked;
#[allow(dead_code, reason = "golden tests use the rest")]
mod common;
#[path = "common/exact.rs"]
mod exact;

use attacked::Attacked;
use attacks::logits;
use robustness::{ATTACKS, AUTOATTACK, Norm, Settings, ThreatModel};

/// Budgets at which some images stay robust and some do not.
const THREATS: [ThreatModel; 2] = [
    ThreatModel {
        norm: Norm::Linf,
        eps: 2.0 / 255.0,
    },
    ThreatModel {
        norm: Norm::L2,
        eps: 0.25,
    },
];
const SETTINGS: Settings = Settings {
    steps: Some(3),
    restarts: Some(2),
    queries: Some(12),
    seed: 1,
};

/// Images 10 and 11 are misclassified.
const ROWS: [usize; 5] = [1, 10, 4, 7, 0];

#[test]
fn adversarial_examples_are_misclassified_and_in_the_ball_and_misclassified_images_are_their_own() {
    let attacked = Attacked::open(&ROWS);
    let (target, batch) = (attacked.target(), &attacked.batch);
    for attack in ATTACKS {
        for threat in THREATS.iter().filter(|t| attack.norms.contains(&t.norm)) {
            let outcomes = (attack.run)(&target, batch, threat, &SETTINGS).unwrap();
            assert_eq!(outcomes.len(), batch.len());
            let name = format!("{} {}", attack.name, threat.norm);
            assert_eq!(outcomes[1].as_deref(), Some(batch.image(1)), "{name}");
            for (row, found) in outcomes.iter().enumerate() {
                let Some(found) = found else { continue };
                let labels = &batch.labels[row..=row];
                let logits = target.logits(found, &batch.ids[row..=row], labels).unwrap();
                assert_ne!(logits::argmax(&logits[0]), labels[0], "{name}, row {row}");
                let distance = threat.distance(batch.image(row), found);
                println!("{name}, row {row}: at {distance}");
                assert!(
                    distance <= threat.eps * (1.0 + 1e-6),
                    "{name}, row {row}: {distance}"
                );
                assert!(
                    found.iter().all(|x| (0.0..=1.0).contains(x)),
                    "{name}, row {row}"
                );
            }
        }
    }
}

#[test]
fn the_result_for_an_image_does_not_depend_on_the_batch() {
    let attacked = Attacked::open(&ROWS);
    let (target, batch) = (attacked.target(), &attacked.batch);
    for attack in ATTACKS {
        for threat in THREATS.iter().filter(|t| attack.norms.contains(&t.norm)) {
            let run = |rows: &[usize]| {
                let part = batch.select(rows);
                (attack.run)(&target, &part, threat, &SETTINGS).unwrap()
            };
            let together = run(&[0, 1, 2, 3, 4]);
            let apart = [run(&[3]), run(&[4, 0]), run(&[]), run(&[1, 2])].concat();
            let order = [3, 4, 0, 1, 2].map(|row: usize| together[row].clone());
            assert!(apart == order, "{} {}", attack.name, threat.norm);
        }
    }
}

#[test]
fn the_standard_sets_attacks_are_in_the_table_under_names_of_their_own() {
    for (i, attack) in ATTACKS.iter().enumerate() {
        assert!(
            ATTACKS[i + 1..]
                .iter()
                .all(|other| other.name != attack.name)
        );
    }
    for name in AUTOATTACK {
        assert!(ATTACKS.iter().any(|attack| attack.name == name), "{name}");
    }
}
