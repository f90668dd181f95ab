//! Sanity checks of an evaluation of robustness (Carlini et al., "On evaluating adversarial robustness", 2019, and
//! the flags of AutoAttack): one function and one row each. A check that is not ok says what it means.
//!
//! They run on the first images of the evaluation, under its first budget unless they say otherwise.

use base::{Result, progress::Progress};
use data::IMAGE_BYTES;
use robustness::{
    Batch, Norm, Target, ThreatModel, apgd,
    loss::Loss,
    objective::{ClassifierObjective, Objective},
    pgd::Pgd,
};

use super::{
    settings::RobustSettings,
    summary::{BudgetResult, DefenseResult, SanityCheck},
    table::Rows,
};

/// Random points of the random search, and the images it is made on.
const RANDOM_POINTS: u64 = 1000;
const RANDOM_IMAGES: usize = 20;

/// What the checks look at.
pub struct Evidence<'a> {
    /// The model.
    pub target: &'a Target<'a>,
    /// The first images.
    pub batch: &'a Batch,
    /// The settings.
    pub settings: &'a RobustSettings,
    /// The results under each budget.
    pub results: &'a [BudgetResult],
    /// The table they are from.
    pub rows: &'a Rows,
    /// The defense's results, with the columns and rows they are from.
    pub defense: Option<(&'a DefenseResult, &'a [String], &'a Rows)>,
    /// The pretrained model, which is not robust.
    pub natural: Option<&'a Target<'a>>,
}

type Check = fn(&Evidence) -> Result<Option<(f64, f64)>>;

/// Name, function (value and limit; none where it does not apply) and the meaning of a failure.
const CHECKS: &[(&str, Check, &str)] = &[
    (
        "accuracy under PGD minus accuracy under one step",
        one_step,
        "one large step is stronger than many small ones: gradients are masked",
    ),
    (
        "accuracy under PGD of 100 minus 200 steps",
        more_steps,
        "more steps still find more: raise --steps",
    ),
    (
        "accuracy under PGD of 10 minus 20 restarts",
        more_restarts,
        "more restarts still find more: raise --restarts",
    ),
    (
        "rise of accuracy with the budget",
        monotone,
        "a larger budget gives higher accuracy: the attacks are too weak",
    ),
    (
        "accuracy under a budget that allows any image (Linf 64/255, L2 8)",
        unbounded,
        "the model resists what nothing can resist: gradients are masked or the evaluation is wrong",
    ),
    (
        "robust images that random noise fools",
        random_search,
        "noise finds what the attacks do not: gradients are masked",
    ),
    (
        "images that only the black-box attack fools",
        black_box_gain,
        "an attack without gradients is stronger: gradients are masked",
    ),
    (
        "images whose gradient is zero",
        zero_gradients,
        "the cross entropy has no gradient there: see that apgd-dlr, apgd-t or pgd-margin are among the attacks",
    ),
    (
        "outputs that are probabilities",
        probabilities,
        "the model ends in a softmax, which hides gradients: evaluate its logits",
    ),
    (
        "difference between passes of the same images",
        random_outputs,
        "the outputs are random: single gradients mean little",
    ),
    (
        "share of the loss gained in the last tenth of APGD",
        plateau,
        "the loss still rises: raise --steps",
    ),
    (
        "images that only the attack on the classifier alone brings past the detector",
        adaptive,
        "the adaptive attacks are weaker than the one that ignores the detector: raise --steps",
    ),
    (
        "accuracy of the pretrained model under PGD (Linf 8/255, L2 0.5)",
        natural,
        "a model without defense should have none: the attacks are too weak, or it was trained against them",
    ),
];

/// Runs all checks.
pub fn run(evidence: &Evidence) -> Result<Vec<SanityCheck>> {
    if evidence.batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut bar = Progress::new("sanity checks", CHECKS.len() as u64);
    let mut done = Vec::new();
    for &(name, check, meaning) in CHECKS {
        if let Some((value, limit)) = check(evidence)? {
            done.push(SanityCheck {
                name: name.into(),
                ok: value <= limit,
                value,
                limit,
                meaning: meaning.into(),
            });
        }
        bar.add(1, name);
    }
    bar.finish();
    Ok(done)
}

impl Evidence<'_> {
    fn threat(&self) -> ThreatModel {
        self.budget(self.settings.eps[0].value())
    }

    fn budget(&self, eps: f64) -> ThreatModel {
        ThreatModel {
            norm: self.settings.norm,
            eps: eps as f32,
        }
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.batch.len() as f64
    }

    /// The rows that are robust under the first budget in the whole evaluation.
    fn robust(&self) -> Vec<usize> {
        let last = self.settings.attacks.len();
        (0..self.batch.len())
            .filter(|&row| self.rows[&(row, 0)][last] == "1")
            .collect()
    }

    fn objective<'b>(&'b self, target: &'b Target, batch: &'b Batch) -> ClassifierObjective<'b> {
        ClassifierObjective {
            target,
            batch,
            loss: Loss::CrossEntropy,
            targets: Vec::new(),
        }
    }

    fn correct(&self, target: &Target) -> Result<Batch> {
        let batch = self.batch;
        let logits = target.logits(&batch.clean, &batch.ids, &batch.labels)?;
        let correct: Vec<usize> = (0..batch.len())
            .filter(|&row| attacks::logits::argmax(&logits[row]) == batch.labels[row])
            .collect();
        Ok(batch.select(&correct))
    }

    /// Accuracy of a model under PGD on the cross entropy.
    fn pgd(&self, target: &Target, threat: &ThreatModel, steps: u32, restarts: u32) -> Result<f64> {
        let batch = self.correct(target)?;
        let objective = self.objective(target, &batch);
        let pgd = Pgd::usual(steps, restarts, threat, "sanity", self.settings.seed);
        let search = pgd.run(&objective, &batch, threat)?;
        Ok(self.share(search.open().len()))
    }
}

fn one_step(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
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

fn more_steps(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let threat = evidence.threat();
    let accuracy = |steps| evidence.pgd(evidence.target, &threat, steps, 1);
    Ok(Some((
        accuracy(100)? - accuracy(200)?,
        half_a_point(evidence),
    )))
}

fn more_restarts(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
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

fn monotone(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let mut by_budget: Vec<&BudgetResult> = evidence.results.iter().collect();
    by_budget.sort_by(|a, b| a.eps.total_cmp(&b.eps));
    let rises = by_budget
        .windows(2)
        .map(|pair| pair[1].robust - pair[0].robust);
    Ok(rises.reduce(f64::max).map(|rise| (rise, 0.0)))
}

fn unbounded(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let threat = evidence.budget(match evidence.settings.norm {
        Norm::Linf => 64.0 / 255.0,
        Norm::L2 => 8.0,
    });
    Ok(Some((evidence.pgd(evidence.target, &threat, 50, 1)?, 0.01)))
}

fn random_search(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
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

/// AutoAttack's limit: 0.2 points below what gradient attacks leave.
fn black_box_gain(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let attacks = &evidence.settings.attacks;
    let Some(square) = attacks
        .iter()
        .position(|name| name == "square")
        .filter(|&place| place > 0)
    else {
        return Ok(None);
    };
    let gain = |result: &BudgetResult| {
        let after = |place: usize| result.attacks.0.get(place).map_or(0.0, |(_, value)| *value);
        after(square - 1) - after(square)
    };
    let gains = evidence.results.iter().map(gain);
    Ok(gains.reduce(f64::max).map(|gain| (gain, 0.002)))
}

fn zero_gradients(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let (target, batch) = (evidence.target, evidence.batch);
    let objective = evidence.objective(target, batch);
    let rows: Vec<usize> = (0..batch.len()).collect();
    let gradient = objective.evaluate(&rows, &batch.clean)?.gradient;
    let zero = gradient
        .chunks_exact(IMAGE_BYTES)
        .filter(|image| image.iter().all(|g| *g == 0.0));
    Ok(Some((evidence.share(zero.count()), 0.0)))
}

fn probabilities(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
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

fn random_outputs(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
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

/// Of the mean best loss, from the start of APGD on.
fn plateau(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
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
    let mut run = apgd::ascent::Run::new(&objective, &batch, &threat, ITERATIONS, &rows, &starts)?;
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

fn adaptive(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let Some((defense, columns, rows)) = evidence.defense else {
        return Ok(None);
    };
    let mut worst = 0;
    for threshold in &defense.thresholds {
        let fooled = |values: &Vec<String>, column: usize| {
            let score: Option<f64> = values[column].parse().ok();
            score.is_some_and(|score| score <= threshold.threshold)
        };
        let only = rows.values().filter(|values| {
            fooled(values, 0) && !(1..columns.len()).any(|column| fooled(values, column))
        });
        worst = worst.max(only.count());
    }
    Ok(Some((worst as f64 / rows.len().max(1) as f64, 0.0)))
}

fn natural(evidence: &Evidence) -> Result<Option<(f64, f64)>> {
    let Some(target) = evidence.natural else {
        return Ok(None);
    };
    let threat = evidence.budget(match evidence.settings.norm {
        Norm::Linf => 8.0 / 255.0,
        Norm::L2 => 0.5,
    });
    Ok(Some((evidence.pgd(target, &threat, 50, 1)?, 0.05)))
}
