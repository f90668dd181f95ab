//! Accuracy on `val` under attack after each epoch: PGD on the model itself, on images that are the same at every
//! epoch.

use std::collections::BTreeMap;

use base::{Result, random::permutation};
use nn::{ComputeDevice, model::Classifier};
use robustness::{Batch, EvaluationAttack, Norm, Settings, Target, ThreatModel};

use crate::{batch::BatchSource, config::RobustVal};

/// Images that are attacked at a time; any number gives the same result.
const BATCH_SIZE: usize = 128;

/// Accuracy under attack, as a part of the attacked images.
#[derive(Clone, Copy, Debug)]
pub struct RobustAccuracy {
    /// Of the model.
    pub accuracy: f64,
    /// Of a model that always predicts the most frequent class of these images.
    pub constant: f64,
}

impl RobustAccuracy {
    /// Whether the model does better than one that always predicts the same.
    pub fn above_constant(self) -> bool {
        self.accuracy > self.constant
    }
}

/// Accuracy under PGD on at most `attack.images` images of `val`; `None` where `val` has none. An image counts if it is
/// classified correctly clean and at every iterate. Selection and random starts are functions of the seed.
pub fn accuracy(
    model: &dyn Classifier,
    device: &ComputeDevice,
    val: &BatchSource,
    attack: &RobustVal,
    seed: u64,
) -> Result<Option<RobustAccuracy>> {
    let mut rows = permutation(val.len(), seed, "robust-val", &[]);
    rows.truncate(attack.images);
    let never = || Ok(());
    let target = Target::new(model, device, &never);
    let threat = ThreatModel {
        norm: Norm::Linf,
        eps: attack.eps.value() as f32,
    };
    let settings = Settings {
        steps: Some(attack.steps),
        seed,
        ..Settings::default()
    };
    let mut robust = 0;
    for rows in rows.chunks(BATCH_SIZE) {
        let clean: Vec<(usize, usize)> = rows.iter().map(|&row| (row, 0)).collect();
        let batch = Batch {
            clean: val.plain(&clean)?.flatten_all()?.to_vec1()?,
            labels: rows.iter().map(|&row| val.labels[row]).collect(),
            ids: rows.iter().map(|&row| val.ids[row]).collect(),
        };
        let found = EvaluationAttack::PGD.attack(&target, &batch, &threat, &settings)?;
        robust += found.iter().filter(|found| found.is_none()).count();
    }
    let mut of_class = BTreeMap::new();
    for &row in &rows {
        *of_class.entry(val.labels[row]).or_insert(0) += 1;
    }
    let most = of_class.into_values().max();
    let part = |count: usize| count as f64 / rows.len() as f64;
    Ok(most.map(|most| RobustAccuracy {
        accuracy: part(robust),
        constant: part(most),
    }))
}
