//! Golden test of APGD: from the same starts, iterates, losses, step sizes and verdicts equal those of the AutoAttack
//! authors' code. The head of `scripts/golden/robustness` describes the file.

#[path = "common/attacked.rs"]
mod attacked;
#[allow(dead_code, reason = "other golden tests use the rest")]
mod common;
#[path = "common/exact.rs"]
mod exact;
#[path = "common/formula.rs"]
mod formula;

use attacked::{Attacked, assert_near, few};
use common::Golden;
use formula::formula;
use robustness::{
    Batch, Norm, ThreatModel,
    apgd::ascent::ApgdRun,
    loss::Loss,
    objective::{ClassifierObjective, Verdict},
};

/// The starts: noise by the formula; in L2 it has a length of about 32.
fn starts(batch: &Batch, threat: &ThreatModel) -> Vec<f32> {
    let scale = match threat.norm {
        Norm::Linf => threat.eps,
        Norm::L2 => threat.eps / 40.0,
    };
    let noise = formula("apgd/start", &[batch.len(), 3, 32, 32]);
    let noise: Vec<f32> = noise.flatten_all().unwrap().to_vec1().unwrap();
    std::iter::zip(&batch.clean, noise)
        .map(|(x, u)| (x + scale * (2.0 * u - 1.0)).clamp(0.0, 1.0))
        .collect()
}

fn has_the_references_iterates(threat: ThreatModel, norm: &str) {
    let golden = Golden::read("apgd");
    let rows: Vec<usize> = golden
        .floats("rows")
        .iter()
        .map(|&row| row as usize)
        .collect();
    let attacked = Attacked::open(&rows);
    let (target, batch) = (attacked.target(), &attacked.batch);
    let targets = golden
        .floats("targets")
        .into_iter()
        .map(|class| class as usize);
    let targets: Vec<usize> = targets.collect();
    let (mut compared, mut all_steps) = (0, 0);
    for (loss, name) in [
        (Loss::CrossEntropy, "ce"),
        (Loss::Dlr, "dlr"),
        (Loss::TargetedDlr, "dlr-targeted"),
    ] {
        let objective = ClassifierObjective {
            target: &target,
            batch,
            loss,
            targets: targets.clone(),
        };
        for (iterations, recorded) in [(25, 25), (100, 60)] {
            let name = format!("{norm}/{name}/{iterations}");
            let read = |what: &str| golden.floats(&format!("{name}/{what}"));
            let (losses, flags) = (read("losses"), read("misclassified"));
            let step_sizes = read("step_sizes");
            let of = |step: usize| step * batch.len()..(step + 1) * batch.len();
            let all: Vec<usize> = (0..batch.len()).collect();
            let starts = starts(batch, &threat);
            let mut run =
                ApgdRun::new(&objective, batch, &threat, iterations, &all, &starts).unwrap();
            let first: Vec<f32> = run.images().iter().map(|image| image.losses[0]).collect();
            assert_near(
                &format!("{name}, start: loss"),
                &first,
                &losses[of(0)],
                1e-5,
                0,
            );
            run.set_start_losses(0.0);
            let stable = read("stable");
            for step in 1..=recorded {
                // Of an image whose run has become unstable the rest depends on rounding.
                let kept: Vec<bool> = stable.iter().map(|&last| step <= last as usize).collect();
                compared += kept.iter().filter(|kept| **kept).count();
                all_steps += kept.len();
                let near = |what: &str, ours: &[f32], theirs: &[f32], bound| {
                    let what = format!("{name}, step {step}: {what}");
                    assert_near(
                        &what,
                        &of_kept(&kept, ours),
                        &of_kept(&kept, theirs),
                        bound,
                        0,
                    );
                };
                let sizes: Vec<f32> = run.images().iter().map(|image| image.step_size).collect();
                near("step sizes", &sizes, &step_sizes[of(step - 1)], 1e-7);
                let (_, points, verdicts) = run.advance().unwrap();
                if golden.tensors.contains_key(&format!("{name}/x{step}")) {
                    near("iterates", &few(&points), &read(&format!("x{step}")), 1e-4);
                }
                let ours: Vec<f32> = (run.images().iter())
                    .map(|image| image.losses[step])
                    .collect();
                near("losses", &ours, &losses[of(step)], 1e-4);
                let wrong = |verdict: &Verdict| f32::from(u8::from(*verdict != Verdict::Correct));
                let ours: Vec<f32> = verdicts.iter().map(wrong).collect();
                near("misclassified", &ours, &flags[of(step)], 0.0);
            }
        }
    }
    println!("{compared} of {all_steps} steps were compared");
    assert!(10 * compared > 7 * all_steps, "few steps are stable");
}

/// The values of the images that are kept.
fn of_kept(kept: &[bool], values: &[f32]) -> Vec<f32> {
    let images = values.chunks_exact(values.len() / kept.len());
    let images = images.zip(kept).filter(|(_, kept)| **kept);
    images.flat_map(|(values, _)| values).copied().collect()
}

#[test]
fn apgd_in_linf_has_the_references_iterates_losses_and_step_sizes() {
    let (norm, eps) = (Norm::Linf, 2.0 / 255.0);
    has_the_references_iterates(ThreatModel { norm, eps }, "Linf");
}

#[test]
fn apgd_in_l2_has_the_references_iterates_losses_and_step_sizes() {
    let (norm, eps) = (Norm::L2, 0.7);
    has_the_references_iterates(ThreatModel { norm, eps }, "L2");
}
