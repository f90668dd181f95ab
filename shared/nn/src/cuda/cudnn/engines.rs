//! Engine configurations that cuDNN's heuristics propose for a graph, and which of them the options allow.

use candle_core::{
    Result,
    cuda_backend::cudarc::cudnn::sys::{
        self, cudnnBackendAttributeName_t as Name, cudnnBackendBehaviorNote_t as Behavior,
        cudnnBackendDescriptorType_t as Kind, cudnnBackendNumericalNote_t as Numerical,
    },
};

use super::{
    Task,
    descriptor::{BehaviorNote, Descriptor, NumericalNote},
    graph::OperationGraph,
};
use crate::{ComputeOptions, Precision};

/// What plans are made for.
#[derive(Debug)]
pub enum Target {
    /// The device of a handle.
    Handle(sys::cudnnHandle_t),
    /// A device that need not be there, by its properties.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests make plans without a device")
    )]
    Properties(Descriptor),
}

/// A list of cuDNN's heuristics.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum HeuristicsMode {
    /// Fastest first, as cuDNN estimates.
    A,
    /// What works widely.
    Fallback,
}

/// Identifies a configuration for one problem on one device under one version of cuDNN.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct ConfigId {
    /// The list it is in.
    pub mode: HeuristicsMode,
    /// Its place there.
    pub rank: usize,
    /// cuDNN's number of the engine.
    pub engine: i64,
}

/// What cuDNN notes about an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineNotes {
    /// It multiplies in tensor cores: f32 factors as TF32.
    pub tensor_core: bool,
    /// Two runs may differ.
    pub nondeterministic: bool,
    /// Factors or sums have fewer bits than the operands' type and f32.
    pub reduced: bool,
    /// It wants operands in another order.
    pub reordered: bool,
    /// Each plan's kernel is compiled when the plan is made, which takes seconds.
    pub compiled: bool,
}

/// A configuration of an engine.
#[derive(Debug)]
pub struct EngineConfig {
    /// Its descriptor.
    pub descriptor: Descriptor,
    /// What identifies it.
    pub id: ConfigId,
}

impl EngineNotes {
    /// Whether such an engine computes what the options promise, and is ready at once unless it may be compiled.
    pub fn are_allowed(self, options: ComputeOptions, may_compile: bool) -> bool {
        let Self {
            tensor_core,
            nondeterministic,
            reduced,
            reordered,
            compiled,
        } = self;
        let is_exact_enough = match options.precision {
            Precision::F32 => !tensor_core && !reduced,
            Precision::Tf32 | Precision::Bf16 => !reduced,
        };
        is_exact_enough
            && !reordered
            && !(options.deterministic && nondeterministic)
            && (may_compile || !compiled)
    }

    fn of(engine: &Descriptor) -> Result<Self> {
        /// The most notes that are read.
        const MAX_NOTES: usize = 32;
        let mut numerical = [NumericalNote::default(); MAX_NOTES];
        let count = engine.get_all(Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, &mut numerical)?;
        let has = |note: Numerical| numerical[..count].contains(&NumericalNote(note as u32));
        let mut behavior = [BehaviorNote::default(); MAX_NOTES];
        let count = engine.get_all(Name::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, &mut behavior)?;
        let behaves = |note: Behavior| behavior[..count].contains(&BehaviorNote(note as u32));
        Ok(Self {
            tensor_core: has(Numerical::CUDNN_NUMERICAL_NOTE_TENSOR_CORE),
            nondeterministic: has(Numerical::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC),
            reduced: has(Numerical::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)
                || has(Numerical::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION),
            reordered: behaves(Behavior::CUDNN_BEHAVIOR_NOTE_REQUIRES_FILTER_INT8x32_REORDER)
                || behaves(Behavior::CUDNN_BEHAVIOR_NOTE_REQUIRES_BIAS_INT8x32_REORDER),
            compiled: behaves(Behavior::CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION),
        })
    }
}

/// The configurations of a list that a task allows, in the list's order.
pub fn configurations(
    graph: &OperationGraph,
    target: &Target,
    mode: HeuristicsMode,
    task: &Task,
) -> Result<Vec<EngineConfig>> {
    let heuristics_mode = match mode {
        HeuristicsMode::A => sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_A,
        HeuristicsMode::Fallback => sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_FALLBACK,
    };
    let mut heuristics = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .with(
            Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
            graph.descriptor(),
        )?
        .with(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &heuristics_mode)?;
    if let Target::Properties(properties) = target {
        heuristics = heuristics.with(Name::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties)?;
    }
    let heuristics = heuristics.finalized()?;
    let count = heuristics.count::<Descriptor>(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS)?;
    let mut descriptors = (0..count)
        .map(|_| Descriptor::new(Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR))
        .collect::<Result<Vec<_>>>()?;
    let count = match count {
        0 => 0,
        _ => heuristics.get_all(Name::CUDNN_ATTR_ENGINEHEUR_RESULTS, &mut descriptors)?,
    };
    descriptors.truncate(count);
    let (mut allowed, mut unreadable) = (Vec::new(), None);
    for (rank, descriptor) in descriptors.into_iter().enumerate() {
        match read(&descriptor) {
            Ok((engine, notes)) if notes.are_allowed(task.options(), task.may_compile()) => allowed
                .push(EngineConfig {
                    descriptor,
                    id: ConfigId { mode, rank, engine },
                }),
            Ok(_) => {}
            // It may not be used; the others may.
            Err(reason) => unreadable = Some(reason),
        }
    }
    match unreadable {
        Some(reason) if allowed.is_empty() => Err(reason),
        _ => Ok(allowed),
    }
}

/// The engine of a configuration and its notes.
fn read(config: &Descriptor) -> Result<(i64, EngineNotes)> {
    let engine = Descriptor::new(Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
    let engine = config.get(Name::CUDNN_ATTR_ENGINECFG_ENGINE, engine)?;
    let index = engine.get(Name::CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 0i64)?;
    Ok((index, EngineNotes::of(&engine)?))
}
