//! A cuDNN task, the key that plans are kept under: a direction of a convolution, or attention or its gradient.

use std::fmt;

use candle_core::{
    Error, Result, bail,
    cuda_backend::cudarc::driver::{CudaStream, result::memset_d8_async},
};

use super::{
    super::{attention, conv},
    engines::Target,
    graph::OperationGraph,
    plan::NamedAddress,
};
use crate::ComputeOptions;

/// One operation of these sizes and types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A direction of a convolution.
    Convolution(conv::Problem),
    /// Attention, forward or its gradient.
    Attention(attention::Problem),
}

impl Task {
    /// Its graph.
    pub fn graph(&self, target: &Target) -> Result<OperationGraph> {
        match self {
            Self::Convolution(problem) => conv::graph(problem, target),
            Self::Attention(problem) => attention::graph(problem, target),
        }
    }

    /// Refuses operands of 2^31 elements or more: cuDNN's kernels index with 32 bits.
    pub fn check_size(&self) -> Result<()> {
        let (what, (images, largest)) = match self {
            Self::Convolution(problem) => ("a convolution", problem.images_and_largest()),
            Self::Attention(problem) => ("attention", problem.images_and_largest()),
        };
        if largest > i32::MAX as usize {
            bail!(
                "{what} of {images} images has an operand of {largest} elements, at most {} are possible: use a \
                 smaller batch",
                i32::MAX
            )
        }
        Ok(())
    }

    /// Why cuDNN of this version may not be asked, if so.
    pub fn known_fault(&self, version: usize) -> Option<&'static str> {
        /// 9.15.0.
        const LAST_WITH_IT: usize = 9_15_00;
        match self {
            // By the release notes of cudnn-frontend 1.16: without a padding mask, where the keys are no multiple of 128.
            Self::Attention(problem)
                if problem.direction == attention::Direction::Gradient
                    && version <= LAST_WITH_IT =>
            {
                Some("its attention gradient reads out of bounds (fixed in cuDNN 9.15.1)")
            }
            _ => None,
        }
    }

    /// Clears what must be zero before each execution of a plan, in the order of the stream.
    ///
    /// # Safety
    /// The operands are of the task's sizes, and on the stream's device.
    pub unsafe fn clear(&self, operands: &[NamedAddress], stream: &CudaStream) -> Result<()> {
        let Self::Attention(problem) = self else {
            return Ok(());
        };
        let Some((id, bytes)) = problem.cleared() else {
            return Ok(());
        };
        for operand in operands.iter().filter(|operand| operand.id == id) {
            // SAFETY: as the caller promises.
            unsafe { memset_d8_async(operand.address as u64, 0, bytes, stream.cu_stream()) }
                .map_err(Error::wrap)?;
        }
        Ok(())
    }

    /// Precision and determinism.
    pub fn options(&self) -> ComputeOptions {
        match self {
            Self::Convolution(problem) => problem.options,
            Self::Attention(problem) => problem.options,
        }
    }

    /// Whether kernels may be compiled when a plan is made: of convolutions, whose shapes are many, this takes longer than it
    /// saves.
    pub fn may_compile(&self) -> bool {
        matches!(self, Self::Attention(_))
    }

    /// What is done instead where cuDNN has no plan, if that is much slower.
    pub fn instead(&self) -> Option<&'static str> {
        match self {
            // Several kernels, of which each has a plan of its own.
            Self::Convolution(problem) if problem.epilogue.is_some() => None,
            Self::Convolution(_) => Some("convolutions by im2col and matrix products"),
            Self::Attention(_) => Some("attention by matrix products"),
        }
    }
}

/// As the file of plans names it.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Convolution(problem) => problem.fmt(f),
            Self::Attention(problem) => problem.fmt(f),
        }
    }
}
