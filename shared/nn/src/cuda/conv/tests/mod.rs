//! Plans for devices that need not be there: cuDNN is asked, by the same code as on a device, for every
//! convolution of the models. Nothing is computed. `scripts/cuda/check-plans` runs it.

mod problems;

use std::collections::BTreeSet;

use super::{
    super::cudnn::{
        Task, devices,
        engines::{ConfigId, EngineNotes, HeuristicsMode},
        plan::{Plan, variant_pack},
    },
    problem::{Operands, Problem},
};
use crate::{ComputeOptions, Precision};
use kernels::shape::ConvShape;

/// What was found for the problems of a row of the table.
#[derive(Default)]
struct Row {
    problems: usize,
    usable: usize,
    fallback: usize,
    engines: BTreeSet<i64>,
    workspace: usize,
}

impl Row {
    fn add(&mut self, plan: &Plan) {
        let ConfigId { mode, engine, .. } = plan.id();
        self.usable += 1;
        self.fallback += usize::from(mode == HeuristicsMode::Fallback);
        self.engines.insert(engine);
        self.workspace = self.workspace.max(plan.workspace());
    }
}

#[test]
fn cudnn_has_plans_for_every_convolution_of_the_models_on_every_kind_of_gpu() {
    let precisions = [Precision::F32, Precision::Tf32, Precision::Bf16];
    assert_plans(&precisions, &[false, true], |shapes, options| {
        problems::of(shapes, options).collect()
    });
}

/// In bf16 it has none that need not be compiled; there two kernels do it.
#[test]
fn cudnn_has_plans_for_convolutions_with_epilogues_on_every_kind_of_gpu() {
    let precisions = [Precision::F32, Precision::Tf32];
    assert_plans(&precisions, &[false], |shapes, options| {
        problems::fused(shapes, options).collect()
    });
}

/// Asks for a plan for every problem on every device, and prints what was found.
fn assert_plans(
    precisions: &[Precision],
    deterministic: &[bool],
    problems: impl Fn(&[ConvShape], ComputeOptions) -> Vec<Problem>,
) {
    let shapes = problems::shapes();
    let mut refused = Vec::new();
    println!(
        "{:<24} {:<5} {:<13} {:>8} {:>6} {:>8} {:>9}  engines",
        "device", "", "", "problems", "usable", "fallback", "MiB"
    );
    for properties in devices::ALL {
        let target = devices::target(properties).unwrap();
        let device: serde_json::Value = serde_json::from_str(properties).unwrap();
        let device = device["deviceName"].as_str().unwrap();
        for &precision in precisions {
            for &deterministic in deterministic {
                let options = ComputeOptions {
                    precision,
                    deterministic,
                };
                let mut row = Row::default();
                for problem in problems(&shapes, options) {
                    row.problems += 1;
                    match devices::first_plan(&Task::Convolution(problem), &target) {
                        Ok(plan) => row.add(&plan),
                        Err(reason) => refused.push(format!("{device}: {problem}: {reason}")),
                    }
                }
                let engines: Vec<String> = row.engines.iter().map(i64::to_string).collect();
                println!(
                    "{device:<24} {precision:<5} {:<13} {:>8} {:>6} {:>8} {:>9.1}  {}",
                    if deterministic { "deterministic" } else { "" },
                    row.problems,
                    row.usable,
                    row.fallback,
                    row.workspace as f64 / (1 << 20) as f64,
                    engines.join(" ")
                );
                assert!(row.problems > 1000);
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn cudnn_takes_a_variant_pack_with_and_without_a_workspace() {
    // Addresses are not read before a plan is executed.
    let operands = Operands {
        x: 0x1000,
        weight: 0x2000,
        y: 0x3000,
    };
    for workspace in [0, 0x4000] {
        variant_pack(&operands.named(), workspace).unwrap();
    }
}

#[test]
fn engines_are_allowed_by_their_notes_and_the_options() {
    let options = |precision, deterministic| ComputeOptions {
        precision,
        deterministic,
    };
    let plain = EngineNotes::default();
    let tensor_core = EngineNotes {
        tensor_core: true,
        ..plain
    };
    let nondeterministic = EngineNotes {
        nondeterministic: true,
        ..plain
    };
    let reduced = EngineNotes {
        reduced: true,
        ..plain
    };
    let reordered = EngineNotes {
        reordered: true,
        ..plain
    };
    let compiled = EngineNotes {
        compiled: true,
        ..plain
    };
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let fast = options(precision, false);
        assert!(plain.are_allowed(fast, false));
        assert_eq!(
            tensor_core.are_allowed(fast, false),
            precision != Precision::F32,
            "{precision}"
        );
        assert!(nondeterministic.are_allowed(fast, false));
        assert!(!nondeterministic.are_allowed(options(precision, true), false));
        assert!(!reduced.are_allowed(fast, true) && !reordered.are_allowed(fast, true));
        assert!(compiled.are_allowed(fast, true) && !compiled.are_allowed(fast, false));
    }
}

#[test]
fn a_convolution_of_two_to_the_31_elements_is_refused_with_its_size() {
    let shapes = problems::shapes();
    let options = ComputeOptions::default();
    let mut problem = problems::of(&shapes, options).next().unwrap();
    assert!(Task::Convolution(problem).check_size().is_ok());
    let largest = problem
        .shape
        .output()
        .numel()
        .max(problem.shape.input.numel());
    assert!(largest.is_power_of_two());
    problem.shape.input.images *= (1 << 31) / largest;
    let error = Task::Convolution(problem)
        .check_size()
        .unwrap_err()
        .to_string();
    assert!(error.contains("2147483648"), "{error}");
    assert!(error.contains("smaller batch"), "{error}");
}
