//! Convolutions on one device: for each problem the plan of cuDNN's that was chosen for it, or im2col and
//! matrix products where cuDNN has none.

use std::{
    collections::HashMap,
    env,
    sync::{Arc, LazyLock, Mutex},
};

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice, DeviceId,
        cudarc::cudnn::{result, sys},
    },
};

use super::{
    choice::Chooser,
    engines::{ConfigId, Target},
    graph::OperationGraph,
    im2col::Im2col,
    plan::Plan,
    plan_cache::PlanCache,
    problem::{Operands, Problem},
    workspace::Workspace,
};
use crate::ops::locked;
use base::log;

/// `im2col` here computes all convolutions so, without cuDNN; for tests.
const METHOD_VARIABLE: &str = "MITHRIDATE_CONV";

/// How a problem is solved.
enum Method {
    /// By a plan, whose graph lives as long; and the configurations that have failed.
    Plan {
        plan: Plan,
        _graph: OperationGraph,
        failed: Vec<ConfigId>,
    },
    /// By im2col and matrix products.
    Im2col,
}

/// cuDNN on one device.
pub struct Cudnn {
    handle: sys::cudnnHandle_t,
    device: CudaDevice,
    workspace: Workspace,
    methods: HashMap<Problem, Method>,
    cache: PlanCache,
    only_im2col: bool,
    says_im2col: bool,
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
            methods: HashMap::new(),
            cache: PlanCache::of(device)?,
            only_im2col: env::var_os(METHOD_VARIABLE).is_some_and(|method| method == "im2col"),
            says_im2col: true,
        })
    }

    /// Solves a problem.
    ///
    /// # Safety
    /// The operands are of the problem's sizes and type, and on this device.
    pub unsafe fn run(&mut self, problem: &Problem, operands: Operands) -> Result<()> {
        problem.check_size()?;
        let context = self.device.cuda_stream().context().clone();
        context.bind_to_thread().map_err(Error::wrap)?;
        loop {
            let failed = match self.methods.get_mut(problem) {
                Some(Method::Plan { plan, failed, .. }) => {
                    let workspace = self.workspace.reserve(plan.workspace())?;
                    // SAFETY: as the caller promises, and the workspace has the plan's size.
                    match unsafe { plan.execute(self.handle, operands, workspace) } {
                        Ok(()) => return Ok(()),
                        Err(reason) => {
                            log::warning(format_args!(
                                "another plan is chosen for the {problem}: {reason}"
                            ));
                            failed.push(plan.id());
                            std::mem::take(failed)
                        }
                    }
                }
                Some(Method::Im2col) => {
                    let mut im2col = Im2col {
                        device: &self.device,
                        workspace: &mut self.workspace,
                    };
                    // SAFETY: as the caller promises.
                    return unsafe { im2col.run(problem, operands) };
                }
                None => Vec::new(),
            };
            // SAFETY: as the caller promises.
            let method = unsafe { self.choose(problem, operands, failed) }?;
            self.methods.insert(*problem, method);
        }
    }

    /// The method for a problem; the direction's result may be written.
    ///
    /// # Safety
    /// That of [`Self::run`].
    unsafe fn choose(
        &mut self,
        problem: &Problem,
        operands: Operands,
        failed: Vec<ConfigId>,
    ) -> Result<Method> {
        if self.only_im2col {
            self.say_im2col(format_args!("{METHOD_VARIABLE} asks for it"));
            return Ok(Method::Im2col);
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
        let graph = match OperationGraph::new(problem, &target) {
            Ok(graph) => graph,
            Err(reason) => {
                self.say_im2col(format_args!("cuDNN refuses the {problem}: {reason}"));
                return Ok(Method::Im2col);
            }
        };
        // SAFETY: as the caller promises.
        let plan = unsafe { chooser.choose(&graph, problem, operands) }?;
        let reason = chooser.reason.take();
        Ok(match plan {
            Some(plan) => Method::Plan {
                plan,
                _graph: graph,
                failed,
            },
            None => {
                let reason =
                    reason.unwrap_or_else(|| Error::Msg("no engine that may be used".into()));
                self.say_im2col(format_args!(
                    "cuDNN has no plan for the {problem}: {reason}"
                ));
                Method::Im2col
            }
        })
    }

    fn say_im2col(&mut self, reason: std::fmt::Arguments) {
        if std::mem::take(&mut self.says_im2col) {
            log::warning(format_args!(
                "convolutions by im2col and matrix products, which is slower: {reason}"
            ));
        }
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        self.methods.clear();
        // SAFETY: the handle is ours, and this is its last use. A failure cannot be handled.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
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
