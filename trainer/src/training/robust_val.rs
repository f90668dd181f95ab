//! Accuracy on `val` under attack after each epoch: PGD on the model itself, on images that are the same at every
//! epoch.

use base::{Result, random::permutation};
use nn::{ComputeDevice, model::Classifier};
use robustness::{Batch, EvaluationAttack, Norm, Settings, Target, ThreatModel};

use crate::{batch::BatchSource, config::RobustVal};

/// Images that are attacked at a time; any number gives the same result.
const BATCH_SIZE: usize = 128;

/// Part of the images that the model classifies correctly, clean and at every iterate of the attack; none where
/// `val` has no images. Images and starts are functions of the seed.
pub fn accuracy(
    model: &dyn Classifier,
    device: &ComputeDevice,
    val: &BatchSource,
    attack: &RobustVal,
    seed: u64,
) -> Result<Option<f64>> {
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
    Ok((!rows.is_empty()).then(|| robust as f64 / rows.len() as f64))
}
