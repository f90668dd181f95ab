//! Golden test of the evaluation attacks FAB and Square: projections, iterates and searches equal those of the AutoAttack
//! authors' code. The head of `scripts/golden/robustness` describes the files.

#[path = "common/attacked.rs"]
mod attacked;
#[allow(dead_code, reason = "other golden tests use the rest")]
mod common;
#[path = "common/exact.rs"]
mod exact;
#[path = "common/formula.rs"]
mod formula;

use attacked::{Attacked, assert_near, few};
use attacks::logits;
use common::Golden;
use formula::formula;
use robustness::{
    Norm, ThreatModel,
    fab::{self, projection::displacement},
    square::{self, Random},
};

const NORMS: [(Norm, &str); 2] = [(Norm::Linf, "Linf"), (Norm::L2, "L2")];

/// Points and normals of the projections in this many dimensions.
fn points_and_normals(golden: &Golden, dim: usize) -> (Vec<f32>, Vec<f32>) {
    if dim < 3072 {
        let read = |name: &str| golden.floats(&format!("{dim}/{name}"));
        return (read("point"), read("normal"));
    }
    let values = |name: &str| -> Vec<f32> {
        let tensor = formula(&format!("projections/{name}"), &[8, dim]);
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    };
    let mut points = values("point");
    for x in &mut points[4 * dim..] {
        *x = (2.0 * *x - 0.5).clamp(0.0, 1.0);
    }
    (points, values("weight"))
}

/// The elements that a golden file keeps of a large tensor.
fn thin(values: Vec<f32>) -> Vec<f32> {
    let shape = values.len();
    common::thin(&candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap())
}

#[test]
fn projections_onto_a_hyperplane_in_the_box_are_exact_and_those_of_the_reference() {
    let golden = Golden::read("projections");
    for dim in [6, 48, 3072] {
        let (points, normals) = points_and_normals(&golden, dim);
        let constants = golden.floats(&format!("{dim}/constant"));
        for (norm, name) in NORMS {
            let project = |i: usize| {
                let (point, normal) = (&points[i * dim..][..dim], &normals[i * dim..][..dim]);
                let products =
                    std::iter::zip(point, normal).map(|(&x, &w)| f64::from(x) * f64::from(w));
                let excess = products.sum::<f64>() - f64::from(constants[i]);
                displacement(norm, point, normal, excess)
            };
            let ours = thin((0..constants.len()).flat_map(project).collect());
            let read = |what: &str| golden.floats(&format!("{dim}/{name}/{what}"));
            assert_near(
                &format!("{dim}/{name}/exact"),
                &ours,
                &read("exact"),
                1e-6,
                0,
            );
            assert_near(
                &format!("{dim}/{name}/reference"),
                &ours,
                &read("reference"),
                1e-4,
                0,
            );
        }
    }
}

#[test]
fn fab_has_the_references_iterates() {
    let golden = Golden::read("fab");
    let attacked = Attacked::open(&[0, 1, 2, 3, 4, 5]);
    let (target, batch) = (attacked.target(), &attacked.batch);
    let clean = target
        .logits(&batch.clean, &batch.ids, &batch.labels)
        .unwrap();
    let targets: Vec<usize> = std::iter::zip(&clean, &batch.labels)
        .map(|(row, &label)| logits::runner_up(row, label))
        .collect();
    for (norm, name) in NORMS {
        let read = |what: &str| golden.floats(&format!("{name}/{what}"));
        let (distances, flags) = (read("distance"), read("misclassified"));
        let threat = ThreatModel { norm, eps: 1.0 };
        let mut run = fab::FabRun::new(&threat, batch.clone(), targets.clone());
        for step in 1..=25 {
            let misclassified = run.advance(&target).unwrap();
            let of_step = (step - 1) * batch.len()..step * batch.len();
            let at = format!("fab {name}, step {step}");
            let points: Vec<f32> = (0..batch.len())
                .flat_map(|i| run.point(i))
                .copied()
                .collect();
            if golden.tensors.contains_key(&format!("{name}/x{step}")) {
                assert_near(&at, &few(&points), &read(&format!("x{step}")), 1e-5, 0);
            }
            let ours: Vec<f32> = (0..batch.len()).map(|i| run.distance(i)).collect();
            assert_near(
                &format!("{at}: distance"),
                &ours,
                &distances[of_step.clone()],
                1e-5,
                0,
            );
            let ours: Vec<f32> = misclassified
                .iter()
                .map(|&m| f32::from(u8::from(m)))
                .collect();
            assert_eq!(ours, flags[of_step], "{at}: misclassified");
            for (i, misclassified) in misclassified.into_iter().enumerate() {
                if misclassified {
                    run.retreat(i);
                }
            }
        }
    }
}

/// Uniform numbers from a golden file.
struct Recorded(std::vec::IntoIter<f32>);

impl Random for Recorded {
    fn uniform(&mut self) -> f64 {
        f64::from(self.0.next().expect("the reference drew as many numbers"))
    }
}

#[test]
fn square_has_the_references_search_when_it_draws_its_numbers() {
    let golden = Golden::read("square");
    let rows: Vec<usize> = golden
        .floats("rows")
        .iter()
        .map(|&row| row as usize)
        .collect();
    let attacked = Attacked::open(&rows);
    for (norm, name, eps) in [(Norm::Linf, "Linf", 8.0 / 255.0), (Norm::L2, "L2", 0.5)] {
        let threat = ThreatModel { norm, eps };
        let of = |i: usize, what: &str| golden.floats(&format!("{name}/{i}/{what}"));
        for queries in [0, 12, 200] {
            let recorded = (0..rows.len()).map(|i| Recorded(of(i, "drawn").into_iter()));
            let (target, batch) = (attacked.target(), &attacked.batch);
            let found =
                square::search(&target, batch, &threat, queries, recorded.collect()).unwrap();
            for (i, found) in found.iter().enumerate() {
                let margins = of(i, "margins");
                let last = (queries as usize).min(margins.len() - 1);
                let at = format!("square {name}, image {i}, query {queries}");
                assert_near(&at, &[found.margin], &margins[last..=last], 1e-4, 0);
                assert_eq!(found.misclassified, margins[last] <= 0.0, "{at}");
            }
            if queries == 200 {
                let pixels: Vec<f32> = found.into_iter().flat_map(|best| best.pixels).collect();
                let best = golden.floats(&format!("{name}/best"));
                assert_near(&format!("square {name}"), &few(&pixels), &best, 1e-5, 0);
            }
        }
    }
}
