//! Sanity checks by attacks on the first images.

use base::Result;
use data::IMAGE_BYTES;
use robustness::{Norm, apgd, objective::Objective};

use super::Evidence;

/// Random points of the random search, and the images it is made on.
const RANDOM_POINTS: u64 = 1000;
const RANDOM_IMAGES: usize = 20;

/// PGD against one step of the budget's size.
pub fn one_step(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let (threat, batch) = (evidence.threat(), evidence.correct(evidence.target)?);
    let objective = evidence.objective(evidence.target, &batch);
    let rows: Vec<usize> = (0..batch.len()).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let mut points = batch.clean.clone();
    let gradient = objective.evaluate(&rows, &points)?.gradient;
    for (row, point) in points.chunks_exact_mut(IMAGE_BYTES).enumerate() {
        threat.ascend(
            point,
            &gradient[row * IMAGE_BYTES..(row + 1) * IMAGE_BYTES],
            threat.eps,
        );
        threat.project(batch.image(row), point);
    }
    let verdicts = objective.evaluate(&rows, &points)?.verdicts;
    let resisting = verdicts
        .iter()
        .filter(|&&verdict| !objective.is_success(verdict))
        .count();
    let iterated = evidence.pgd(evidence.target, &threat, 20, 1)?;
    Ok(Some((iterated - evidence.share(resisting), 0.0)))
}

/// Whether PGD of 200 steps finds more than of 100.
pub fn more_steps(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let threat = evidence.threat();
    let accuracy = |steps| evidence.pgd(evidence.target, &threat, steps, 1);
    Ok(Some((
        accuracy(100)? - accuracy(200)?,
        half_a_point(evidence),
    )))
}

/// Whether 20 restarts of PGD find more than 10.
pub fn more_restarts(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let threat = evidence.threat();
    let accuracy = |restarts| evidence.pgd(evidence.target, &threat, 20, restarts);
    Ok(Some((
        accuracy(10)? - accuracy(20)?,
        half_a_point(evidence),
    )))
}

/// Half a point, or one image where that is more.
fn half_a_point(evidence: &Evidence) -> f64 {
    evidence.share(1).max(0.005)
}

/// PGD under a budget that allows any image.
pub fn unbounded(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let threat = evidence.budget(match evidence.settings.norm {
        Norm::Linf => 64.0 / 255.0,
        Norm::L2 => 8.0,
    });
    Ok(Some((evidence.pgd(evidence.target, &threat, 50, 1)?, 0.01)))
}

/// Random points around images that are robust.
pub fn random_search(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let mut open = evidence.robust();
    open.truncate(RANDOM_IMAGES);
    if open.is_empty() {
        return Ok(None);
    }
    let (threat, batch) = (evidence.threat(), evidence.batch.select(&open));
    let mut fooled = vec![false; batch.len()];
    for draw in 0..RANDOM_POINTS {
        let points: Vec<f32> = (0..batch.len())
            .flat_map(|row| {
                let indices = [batch.ids[row], draw];
                let seed = evidence.settings.seed;
                threat.random_point(batch.image(row), seed, "random-search", &indices)
            })
            .collect();
        let logits = evidence.target.logits(&points, &batch.ids, &batch.labels)?;
        for (row, logits) in logits.iter().enumerate() {
            fooled[row] |= attacks::logits::argmax(logits) != batch.labels[row];
        }
    }
    let count = fooled.iter().filter(|fooled| **fooled).count();
    Ok(Some((count as f64 / batch.len() as f64, 0.0)))
}

/// Fraction of APGD's gain in best loss, summed over images, that falls in the last 10 of 100 iterations; limit 0.05.
pub fn plateau(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    const ITERATIONS: u32 = 100;
    let (threat, batch) = (evidence.threat(), evidence.correct(evidence.target)?);
    if batch.is_empty() {
        return Ok(None);
    }
    let objective = evidence.objective(evidence.target, &batch);
    let rows: Vec<usize> = (0..batch.len()).collect();
    let start = |&row: &usize| {
        let indices = [batch.ids[row]];
        threat.random_surface_point(
            batch.image(row),
            evidence.settings.seed,
            "plateau",
            &indices,
        )
    };
    let starts: Vec<f32> = rows.iter().flat_map(start).collect();
    let mut run =
        apgd::ascent::ApgdRun::new(&objective, &batch, &threat, ITERATIONS, &rows, &starts)?;
    for _ in 0..ITERATIONS {
        run.advance()?;
    }
    let best = |iteration: usize| -> f64 {
        let of = |image: &apgd::ascent::Ascent| {
            f64::from(
                image.losses[..=iteration]
                    .iter()
                    .copied()
                    .fold(f32::NEG_INFINITY, f32::max),
            )
        };
        run.images().iter().map(of).sum()
    };
    let last = ITERATIONS as usize;
    let (start, late, end) = (best(0), best(last - last / 10), best(last));
    let gained = end - start;
    Ok((gained > 0.0).then(|| ((end - late) / gained, 0.05)))
}

/// PGD on the pretrained model.
pub fn natural(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let Some(target) = evidence.natural else {
        return Ok(None);
    };
    let threat = evidence.budget(match evidence.settings.norm {
        Norm::Linf => 8.0 / 255.0,
        Norm::L2 => 0.5,
    });
    Ok(Some((evidence.pgd(target, &threat, 50, 1)?, 0.05)))
}
