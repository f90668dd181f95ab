//! What cuDNN is asked to compute, and what its plans are kept by.

use std::fmt;

use candle_core::{Result, bail};

use super::{
    super::{attention, conv},
    engines::Target,
    graph::OperationGraph,
};
use crate::ComputeOptions;

/// One operation of these sizes and types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A direction of a convolution.
    Convolution(conv::Problem),
    /// Attention, forward.
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

    /// Precision and determinism.
    pub fn options(&self) -> ComputeOptions {
        match self {
            Self::Convolution(problem) => problem.options,
            Self::Attention(problem) => problem.options,
        }
    }

    /// What is done instead where cuDNN has no plan.
    pub fn instead(&self) -> &'static str {
        match self {
            Self::Convolution(_) => "convolutions by im2col and matrix products",
            Self::Attention(_) => "attention by matrix products",
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
