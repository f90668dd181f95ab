//! Sanity checks of the model's outputs and gradients.

use base::Result;
use data::IMAGE_BYTES;
use robustness::objective::Objective;

use super::Evidence;

/// Images without a gradient.
pub fn zero_gradients(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let (target, batch) = (evidence.target, evidence.batch);
    let objective = evidence.objective(target, batch);
    let rows: Vec<usize> = (0..batch.len()).collect();
    let gradient = objective.evaluate(&rows, &batch.clean)?.gradient;
    let zero = gradient
        .chunks_exact(IMAGE_BYTES)
        .filter(|image| image.iter().all(|g| *g == 0.0));
    Ok(Some((evidence.share(zero.count()), 0.0)))
}

/// Outputs that are probabilities.
pub fn probabilities(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let batch = evidence.batch;
    let logits = evidence
        .target
        .logits(&batch.clean, &batch.ids, &batch.labels)?;
    let are = |row: &&Vec<f32>| {
        row.iter().all(|z| (0.0..=1.0).contains(z)) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3
    };
    Ok(Some((
        evidence.share(logits.iter().filter(are).count()),
        0.0,
    )))
}

/// The largest difference between passes of the same images.
pub fn random_outputs(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let batch = evidence.batch;
    let pass = || {
        evidence
            .target
            .logits(&batch.clean, &batch.ids, &batch.labels)
    };
    let first = pass()?;
    let mut largest = 0f32;
    for _ in 1..5 {
        let again = pass()?;
        let pairs = first.iter().flatten().zip(again.iter().flatten());
        largest = pairs.map(|(a, b)| (a - b).abs()).fold(largest, f32::max);
    }
    Ok(Some((f64::from(largest), 1e-4)))
}
