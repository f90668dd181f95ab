//! Choice of a plan: the fastest of all that cuDNN's heuristics propose, measured on the real operands and
//! remembered in a file; where runs must repeat to the bit, the heuristics' first deterministic one.

use candle_core::{
    Error, Result, bail,
    cuda_backend::{CudaDevice, cudarc::cudnn::sys},
};

use super::{
    engines::{ConfigId, EngineConfig, HeuristicsMode, Target, configurations},
    graph::OperationGraph,
    plan::{NamedAddress, Plan},
    plan_cache::PlanCache,
    task::Task,
    timing::Timer,
    workspace::{MAX_WORKSPACE, Workspace},
};

/// What a choice needs.
pub struct Chooser<'a> {
    /// cuDNN's.
    pub handle: sys::cudnnHandle_t,
    /// Of the handle.
    pub target: &'a Target,
    /// Where plans run.
    pub device: &'a CudaDevice,
    /// Shared by all plans.
    pub workspace: &'a mut Workspace,
    /// Earlier choices.
    pub cache: &'a mut PlanCache,
    /// Configurations that are not to be tried again.
    pub failed: &'a [ConfigId],
    /// Why the last plan that failed did.
    pub reason: Option<Error>,
    /// Whether a plan was passed over because memory did not suffice: another run may choose better.
    pub lacked_memory: bool,
}

impl Chooser<'_> {
    /// A plan that has run, if there is any.
    ///
    /// # Safety
    /// The operands are of the task's sizes and types, and on this device; the result may be
    /// written.
    pub unsafe fn choose(
        &mut self,
        graph: &OperationGraph,
        task: &Task,
        operands: &[NamedAddress],
    ) -> Result<Option<Plan>> {
        let deterministic = task.options().deterministic;
        let known = if deterministic {
            None
        } else {
            self.cache.get(task).flatten()
        };
        if let Some(id) = known
            // SAFETY: as the caller promises.
            && let Some(plan) = unsafe { self.first(graph, task, operands, id.mode, Some(id)) }
        {
            return Ok(Some(plan));
        }
        for mode in [HeuristicsMode::A, HeuristicsMode::Fallback] {
            // SAFETY: as the caller promises.
            let plan = unsafe {
                if deterministic {
                    self.first(graph, task, operands, mode, None)
                } else {
                    self.fastest(graph, task, operands, mode)?
                }
            };
            if let Some(plan) = plan {
                if !deterministic && !self.lacked_memory {
                    self.cache.insert(task, Some(plan.id()));
                }
                return Ok(Some(plan));
            }
        }
        if task.instead().is_none() && !self.lacked_memory {
            self.cache.insert(task, None);
        }
        Ok(None)
    }

    /// The configurations of a list, without those that have failed.
    fn configurations(
        &mut self,
        graph: &OperationGraph,
        task: &Task,
        mode: HeuristicsMode,
    ) -> Vec<EngineConfig> {
        let mut configs = configurations(graph, self.target, mode, task).unwrap_or_else(|reason| {
            self.reason = Some(reason);
            Vec::new()
        });
        configs.retain(|config| !self.failed.contains(&config.id));
        configs
    }

    /// The plan of a configuration, if its workspace is small enough.
    fn plan(&self, config: EngineConfig) -> Result<Plan> {
        let plan = Plan::new(config, self.target)?;
        if plan.workspace() > MAX_WORKSPACE {
            bail!(
                "{:?} needs {} bytes of workspace",
                plan.id(),
                plan.workspace()
            )
        }
        Ok(plan)
    }

    /// The first plan that runs.
    ///
    /// # Safety
    /// That of [`Self::choose`].
    unsafe fn first(
        &mut self,
        graph: &OperationGraph,
        task: &Task,
        operands: &[NamedAddress],
        mode: HeuristicsMode,
        only: Option<ConfigId>,
    ) -> Option<Plan> {
        let mut configs = self.configurations(graph, task, mode);
        configs.retain(|config| only.is_none_or(|only| only == config.id));
        for config in configs {
            let run = self.plan(config).and_then(|plan| {
                // SAFETY: as the caller promises.
                unsafe { self.execute(task, &plan, operands) }?;
                Ok(plan)
            });
            match run {
                Ok(plan) => return Some(plan),
                Err(reason) => self.reason = Some(reason),
            }
        }
        None
    }

    /// The fastest plan of a list.
    ///
    /// # Safety
    /// That of [`Self::choose`].
    unsafe fn fastest(
        &mut self,
        graph: &OperationGraph,
        task: &Task,
        operands: &[NamedAddress],
        mode: HeuristicsMode,
    ) -> Result<Option<Plan>> {
        let timer = Timer::new(self.device)?;
        let mut fastest: Option<(f32, Plan)> = None;
        for config in self.configurations(graph, task, mode) {
            let best = fastest.as_ref().map_or(f32::INFINITY, |(time, _)| *time);
            let measured = self.plan(config).and_then(|plan| {
                // SAFETY: as the caller promises.
                let run = || unsafe { self.execute(task, &plan, operands) };
                let time = timer.fastest(best, run)?;
                Ok((time, plan))
            });
            match measured {
                Ok((time, plan)) if time < best => fastest = Some((time, plan)),
                Ok(_) => {}
                Err(reason) => {
                    self.lacked_memory |= reason.to_string().contains("out of memory");
                    self.reason = Some(reason);
                }
            }
        }
        // It has become as large as the largest that was measured, not as that of the fastest.
        self.workspace.release();
        Ok(fastest.map(|(_, plan)| plan))
    }

    /// # Safety
    /// That of [`Self::choose`].
    unsafe fn execute(
        &mut self,
        task: &Task,
        plan: &Plan,
        operands: &[NamedAddress],
    ) -> Result<()> {
        let workspace = self.workspace.reserve(plan.workspace())?;
        // SAFETY: as the caller promises.
        unsafe { task.clear(operands, &self.device.cuda_stream()) }?;
        // SAFETY: as the caller promises, and the workspace has the plan's size.
        unsafe { plan.execute(self.handle, operands, workspace) }
    }
}
