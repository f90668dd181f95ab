//! GPUs that need not be there, for which tests make plans. Nothing is computed.

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::cudnn::sys::{
        cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
    },
};

use super::{
    Task,
    descriptor::Descriptor,
    engines::{HeuristicsMode, Target, configurations},
    plan::Plan,
    workspace::MAX_WORKSPACE,
};

/// Properties of GPUs as cuDNN writes them (JSON), with the numbers of data sheets.
pub const ALL: [&str; 6] = [
    include_str!("../../../../../scripts/cuda/devices/a100.json"),
    include_str!("../../../../../scripts/cuda/devices/rtx4090.json"),
    include_str!("../../../../../scripts/cuda/devices/h100.json"),
    include_str!("../../../../../scripts/cuda/devices/h200.json"),
    include_str!("../../../../../scripts/cuda/devices/b200.json"),
    include_str!("../../../../../scripts/cuda/devices/rtx5090.json"),
];

/// A GPU that need not be there.
pub fn target(properties: &str) -> Result<Target> {
    let descriptor = Descriptor::new(Kind::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?.with_all(
        Name::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
        properties.trim().as_bytes(),
    )?;
    Ok(Target::Properties(descriptor.finalized()?))
}

/// The first plan that can be made for a task.
pub fn first_plan(task: &Task, target: &Target) -> Result<Plan> {
    task.check_size()?;
    let graph = task.graph(target)?;
    let mut reason = Error::Msg("no engine that may be used".into());
    for mode in [HeuristicsMode::A, HeuristicsMode::Fallback] {
        for config in configurations(&graph, target, mode, task)? {
            match Plan::new(config, target) {
                Ok(plan) if plan.workspace() <= MAX_WORKSPACE => return Ok(plan),
                Ok(plan) => {
                    reason = Error::Msg(format!("{} bytes of workspace", plan.workspace()));
                }
                Err(refused) => reason = refused,
            }
        }
    }
    Err(reason)
}
