//! Properties of every evaluation attack, on a small calibrated model: examples are in the ball and fool the
//! model, and no result depends on the batch.

use base::Result;
use candle_core::Device;
use data::{
    IMAGE_BYTES,
    synthetic::{SHAPES, draw},
};
use nn::model::{Architecture, Classifier, calibrated};

use crate::{ATTACKS, Batch, Norm, Settings, Target, ThreatModel};

/// Ten synthetic images and a model that predicts something on them.
fn inputs() -> (Box<dyn Classifier>, Batch) {
    let bytes: Vec<u8> = (0..10)
        .flat_map(|i| draw(0, i, (i % SHAPES.len() as u64) as u8))
        .collect();
    let clean: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let images = attacks::quantize::to_tensor(&bytes, &Device::Cpu).unwrap();
    let architecture = Architecture::named("resnet18").unwrap();
    let weights = calibrated(
        architecture,
        2,
        SHAPES.len(),
        &images,
        &(&Device::Cpu).into(),
    )
    .unwrap();
    let model = architecture
        .load("the model", weights)
        .unwrap()
        .eval()
        .unwrap();
    let mut labels = nn::model::predicted_classes(&model.logits(&images).unwrap()).unwrap();
    // The last image is misclassified.
    labels[9] = (labels[9] + 1) % 10;
    let batch = Batch {
        clean,
        labels,
        ids: (100..110).collect(),
    };
    (model, batch)
}

fn never() -> Result<()> {
    Ok(())
}

const SETTINGS: Settings = Settings {
    steps: Some(5),
    restarts: Some(2),
    queries: Some(30),
    seed: 3,
};

const THREATS: [ThreatModel; 2] = [
    ThreatModel {
        norm: Norm::Linf,
        eps: 4.0 / 255.0,
    },
    ThreatModel {
        norm: Norm::L2,
        eps: 0.3,
    },
];

#[test]
fn evaluation_attacks_find_examples_in_the_ball_that_the_model_misclassifies() {
    let (model, batch) = inputs();
    let target = Target::new(model.as_ref(), &Device::Cpu, &never);
    for attack in ATTACKS {
        for threat in &THREATS {
            let outcomes = attack.attack(&target, &batch, threat, &SETTINGS).unwrap();
            assert_eq!(outcomes.len(), batch.len());
            let name = format!("{} {}", attack.name, threat.norm);
            assert_eq!(outcomes[9].as_deref(), Some(batch.image(9)), "{name}");
            for (row, found) in outcomes.iter().enumerate() {
                let Some(found) = found else { continue };
                assert_eq!(found.len(), IMAGE_BYTES);
                assert!(
                    found.iter().all(|x| (0.0..=1.0).contains(x)),
                    "{name} {row}"
                );
                let distance = threat.distance(batch.image(row), found);
                assert!(
                    distance <= threat.eps * (1.0 + 1e-4) + 1e-6,
                    "{name} {row}: {distance}"
                );
                let label = batch.labels[row];
                let logits = target.logits(found, &[0], &[label]).unwrap();
                assert_ne!(attacks::logits::argmax(&logits[0]), label, "{name} {row}");
            }
        }
    }
}

#[test]
fn results_of_evaluation_attacks_do_not_depend_on_the_batch() {
    let (model, batch) = inputs();
    let target = Target::new(model.as_ref(), &Device::Cpu, &never);
    let rows = [7, 2, 9];
    for attack in ATTACKS {
        for threat in &THREATS {
            let whole = attack.attack(&target, &batch, threat, &SETTINGS).unwrap();
            let part = attack
                .attack(&target, &batch.select(&rows), threat, &SETTINGS)
                .unwrap();
            for (&row, found) in rows.iter().zip(&part) {
                assert_eq!(whole[row], *found, "{} {} {row}", attack.name, threat.norm);
            }
        }
    }
}

#[test]
fn no_result_of_an_evaluation_attack_depends_on_the_padding_of_batches() {
    let (model, batch) = inputs();
    let target = || Target::new(model.as_ref(), &Device::Cpu, &never);
    for attack in ATTACKS {
        for threat in &THREATS {
            let outcomes = [target(), target().always_padded()].map(|target| {
                // Batches that lose images are padded up to this size.
                target.padding(512);
                attack.attack(&target, &batch, threat, &SETTINGS).unwrap()
            });
            assert!(
                outcomes[0] == outcomes[1],
                "{} {}",
                attack.name,
                threat.norm
            );
        }
    }
}

#[test]
fn a_norm_or_a_class_count_that_an_attack_lacks_is_refused() {
    let device = Device::Cpu;
    let architecture = Architecture::named("resnet18").unwrap();
    let model = architecture.init(2, 2, 0, &device).unwrap().eval().unwrap();
    let target = Target::new(model.as_ref(), &device, &never);
    let batch = Batch {
        clean: vec![0.5; IMAGE_BYTES],
        labels: vec![1],
        ids: vec![0],
    };
    for attack in ATTACKS.iter().filter(|attack| attack.min_classes > 2) {
        let error = attack
            .attack(&target, &batch, &THREATS[0], &SETTINGS)
            .unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(attack.name), "{error}");
    }
}

#[test]
fn an_interruption_ends_an_evaluation_attack() {
    let (model, batch) = inputs();
    let stop = || Err(base::Error::Interrupted("stopped".into()));
    let target = Target::new(model.as_ref(), &Device::Cpu, &stop);
    for attack in ATTACKS {
        let error = attack
            .attack(&target, &batch, &THREATS[0], &SETTINGS)
            .unwrap_err();
        assert_eq!(error.exit_code(), 75);
    }
}

#[test]
fn evaluation_attacks_have_names_of_their_own_and_autoattack_names_rows() {
    for attack in ATTACKS {
        assert_eq!(
            ATTACKS
                .iter()
                .filter(|other| other.name == attack.name)
                .count(),
            1
        );
    }
}
