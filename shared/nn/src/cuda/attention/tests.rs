//! Plans for attention on GPUs that this machine does not have. cuDNN compiles the kernels, and the stub of libcuda
//! (`scripts/cuda/cuda-toolkit`, `STUB_TAKES_KERNELS`) accepts them. `scripts/cuda/check-plans` runs the test.

use super::{
    super::cudnn::{Task, devices},
    problem::{Direction, Problem},
};
use crate::{ComputeOptions, Precision};

#[test]
fn cudnn_has_plans_for_attention_of_the_detectors_on_every_kind_of_gpu() {
    // Of all features and of low ones, with the paper's and with narrow heads; all tokens, or the first alone. What is
    // deterministic may be used where that is not asked for, too; the gradient is used only where it is not.
    let sizes = [(513, 64), (65, 64), (513, 16)];
    for properties in devices::ALL {
        let target = devices::target(properties).unwrap();
        let device: serde_json::Value = serde_json::from_str(properties).unwrap();
        let mut engines = std::collections::BTreeSet::new();
        for (keys, size) in sizes {
            for queries in [keys, 1] {
                for (batch, direction) in [
                    (1, Direction::Forward),
                    (512, Direction::Forward),
                    (1, Direction::Gradient),
                    (512, Direction::Gradient),
                ] {
                    let task = Task::Attention(Problem {
                        direction,
                        batch,
                        heads: 4,
                        queries,
                        keys,
                        size,
                        options: ComputeOptions {
                            precision: Precision::Bf16,
                            deterministic: direction == Direction::Forward,
                        },
                    });
                    match devices::first_plan(&task, &target) {
                        Ok(plan) => engines.insert(plan.id().engine),
                        Err(reason) => panic!("{}: {task}: {reason}", device["deviceName"]),
                    };
                }
            }
        }
        println!(
            "{}: attention by the engines {engines:?}",
            device["deviceName"]
        );
    }
}
