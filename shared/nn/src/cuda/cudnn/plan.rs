//! Execution plans: an engine configuration made ready for a device, its workspace, and its execution.

use std::ffi::c_void;

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::{
        cudnn::sys::{
            self, cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
        },
        driver::sys::CUdeviceptr,
    },
};

use super::{
    descriptor::{Address, Descriptor},
    engines::{ConfigId, EngineConfig, Target},
};

/// An operand of an execution.
#[derive(Clone, Copy, Debug)]
pub struct NamedAddress {
    /// Its name in the graph.
    pub id: i64,
    /// On the device, or on the host where the graph says so.
    pub address: *mut c_void,
}

/// A plan.
#[derive(Debug)]
pub struct Plan {
    plan: Descriptor,
    config: EngineConfig,
    workspace: usize,
}

impl Plan {
    /// The plan of a configuration, whose graph must live as long.
    pub fn new(config: EngineConfig, target: &Target) -> Result<Self> {
        let plan = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?.with(
            Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
            &config.descriptor,
        )?;
        let plan = match target {
            Target::Handle(handle) => plan.with(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle),
            Target::Properties(properties) => {
                plan.with(Name::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties)
            }
        }?
        .finalized()?;
        let workspace = plan.get(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 0i64)?;
        Ok(Self {
            plan,
            config,
            workspace: usize::try_from(workspace).map_err(Error::wrap)?,
        })
    }

    /// What identifies its configuration.
    pub fn id(&self) -> ConfigId {
        self.config.id
    }

    /// Bytes of the workspace that it needs.
    pub fn workspace(&self) -> usize {
        self.workspace
    }

    /// Executes it in the handle's stream.
    ///
    /// # Safety
    /// The operands are of the graph's sizes and types, the workspace has the plan's size, all on the
    /// handle's device.
    pub unsafe fn execute(
        &self,
        handle: sys::cudnnHandle_t,
        operands: &[NamedAddress],
        workspace: CUdeviceptr,
    ) -> Result<()> {
        let pack = variant_pack(operands, workspace)?;
        // SAFETY: as the caller promises.
        unsafe { self.plan.execute(handle, &pack) }
    }
}

/// The operands and the workspace of an execution.
pub fn variant_pack(operands: &[NamedAddress], workspace: CUdeviceptr) -> Result<Descriptor> {
    let ids: Vec<i64> = operands.iter().map(|operand| operand.id).collect();
    let addresses: Vec<Address> = operands.iter().map(|o| Address(o.address)).collect();
    Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
        .with_all(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &addresses)?
        .with_all(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &ids)?
        .with(
            Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
            &Address(workspace as *mut c_void),
        )?
        .finalized()
}
