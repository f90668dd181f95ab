//! cuDNN on one device, by its graph API: for each task the plan that was chosen for it.

mod choice;
pub mod composed;
pub mod descriptor;
#[cfg(test)]
pub mod devices;
pub mod engines;
mod fused;
pub mod graph;
pub mod plan;
mod plan_cache;
mod task;
mod timing;
pub mod workspace;

use std::{
    collections::{HashMap, HashSet},
    env,
    ffi::OsString,
    fmt,
    sync::{Arc, LazyLock, Mutex},
};

use candle_core::{
    Error, Result, bail,
    cuda_backend::{
        CudaDevice, DeviceId,
        cudarc::{
            cudnn::{result, sys},
            driver::{CudaStream, sys::CUstreamCaptureStatus},
        },
    },
};

pub use self::task::Task;
use self::{
    choice::Chooser,
    engines::{ConfigId, Target},
    graph::OperationGraph,
    plan::{NamedAddress, Plan},
    plan_cache::PlanCache,
    workspace::Workspace,
};
use crate::ops::locked;
use base::log;

/// `im2col` computes all without cuDNN, `fused` computes convolutions with their epilogues in one kernel wherever cuDNN has one,
/// `separate` nowhere; for tests and to find a fault.
const METHOD_VARIABLE: &str = "MITHRIDATE_CONV";

/// A plan, whose graph lives as long; and the configurations that have failed.
struct Chosen {
    plan: Plan,
    _graph: OperationGraph,
    failed: Vec<ConfigId>,
}

/// cuDNN on one device.
pub struct Cudnn {
    handle: sys::cudnnHandle_t,
    device: CudaDevice,
    workspace: Workspace,
    /// `None` where there is no plan.
    chosen: HashMap<Task, Option<Chosen>>,
    cache: PlanCache,
    method: Option<OsString>,
    /// What a warning has said that is done without cuDNN.
    warned: HashSet<&'static str>,
}

// SAFETY: a handle and descriptors may be used by any thread, by one at a time: the caller has a `&mut`.
unsafe impl Send for Cudnn {}

impl Cudnn {
    /// Opens cuDNN.
    fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        let handle = result::create_handle().map_err(Error::wrap)?;
        // SAFETY: the stream lives as long as the device, which holds it.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(Error::wrap)?;
        Ok(Self {
            handle,
            device: device.clone(),
            workspace: Workspace::new(device),
            chosen: HashMap::new(),
            cache: PlanCache::of(device)?,
            method: env::var_os(METHOD_VARIABLE),
            warned: HashSet::new(),
        })
    }

    /// The device, and the workspace that all plans share.
    pub fn device_and_workspace(&mut self) -> (&CudaDevice, &mut Workspace) {
        (&self.device, &mut self.workspace)
    }

    /// Runs a task; false if cuDNN has no plan for it, of which one warning tells.
    ///
    /// # Safety
    /// The operands are of the task's sizes and types, and on this device; the result may be written.
    pub unsafe fn run(&mut self, task: &Task, operands: &[NamedAddress]) -> Result<bool> {
        task.check_size()?;
        let stream = self.device.cuda_stream();
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        loop {
            let failed = match self.chosen.get_mut(task) {
                Some(Some(Chosen { plan, failed, .. })) => {
                    let workspace = self.workspace.reserve(plan.workspace())?;
                    // SAFETY: as the caller promises.
                    unsafe { task.clear(operands, &stream) }?;
                    // SAFETY: as the caller promises, and the workspace has the plan's size.
                    match unsafe { plan.execute(self.handle, operands, workspace) } {
                        Ok(()) => return Ok(true),
                        // It may run where nothing is captured, and others cannot be tried here.
                        Err(reason) if is_capturing(&stream)? => return Err(reason),
                        Err(reason) => {
                            log::warning(format_args!(
                                "another plan is chosen for the {task}: {reason}"
                            ));
                            failed.push(plan.id());
                            std::mem::take(failed)
                        }
                    }
                }
                Some(None) => return Ok(false),
                None if is_capturing(&stream)? => {
                    bail!("a plan for the {task} is chosen by running it, which cannot be captured")
                }
                None => Vec::new(),
            };
            // SAFETY: as the caller promises.
            let chosen = unsafe { self.choose(task, operands, failed) }?;
            self.chosen.insert(*task, chosen);
        }
    }

    /// A plan for a task, if there is one.
    ///
    /// # Safety
    /// That of [`Self::run`].
    unsafe fn choose(
        &mut self,
        task: &Task,
        operands: &[NamedAddress],
        failed: Vec<ConfigId>,
    ) -> Result<Option<Chosen>> {
        if self.method_is("im2col") {
            self.warn(task, format_args!("{METHOD_VARIABLE} asks for it"));
            return Ok(None);
        }
        let version = result::get_version();
        if let Some(fault) = task.known_fault(version) {
            self.warn(task, format_args!("cuDNN {version}: {fault}"));
            return Ok(None);
        }
        let target = Target::Handle(self.handle);
        let mut chooser = Chooser {
            handle: self.handle,
            target: &target,
            device: &self.device,
            workspace: &mut self.workspace,
            cache: &mut self.cache,
            failed: &failed,
            reason: None,
            lacked_memory: false,
        };
        let graph = match task.graph(&target) {
            Ok(graph) => graph,
            Err(reason) => {
                self.warn(task, format_args!("cuDNN refuses the {task}: {reason}"));
                return Ok(None);
            }
        };
        // SAFETY: as the caller promises.
        let plan = unsafe { chooser.choose(&graph, task, operands) }?;
        let reason = chooser.reason.take();
        if plan.is_none() {
            let reason = reason.unwrap_or_else(|| Error::Msg("no engine that may be used".into()));
            self.warn(
                task,
                format_args!("cuDNN has no plan for the {task}: {reason}"),
            );
        }
        Ok(plan.map(|plan| Chosen {
            plan,
            _graph: graph,
            failed,
        }))
    }

    /// Whether the environment asks for a method.
    fn method_is(&self, name: &str) -> bool {
        self.method.as_ref().is_some_and(|method| method == name)
    }

    /// Says once what is done instead, if that is worth a warning.
    fn warn(&mut self, task: &Task, reason: fmt::Arguments) {
        if let Some(instead) = task.instead()
            && self.warned.insert(instead)
        {
            log::warning(format_args!("{instead}, which is slower: {reason}"));
        }
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        self.chosen.clear();
        // SAFETY: the handle is ours, and this is its last use. A failure cannot be handled.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// Whether a stream captures a graph.
fn is_capturing(stream: &CudaStream) -> Result<bool> {
    let status = stream.capture_status().map_err(Error::wrap)?;
    Ok(status != CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
}

/// Calls `f` with the device's cuDNN, one thread at a time.
pub fn with_cudnn<T>(device: &CudaDevice, f: impl FnOnce(&mut Cudnn) -> Result<T>) -> Result<T> {
    static ALL: LazyLock<Mutex<HashMap<DeviceId, Arc<Mutex<Cudnn>>>>> =
        LazyLock::new(Mutex::default);
    let cudnn = {
        let mut all = locked(&ALL);
        match all.get(&device.id()) {
            Some(cudnn) => cudnn.clone(),
            None => {
                let new = Arc::new(Mutex::new(Cudnn::new(device)?));
                all.insert(device.id(), new.clone());
                new
            }
        }
    };
    let mut cudnn = locked(&cudnn);
    f(&mut cudnn)
}
