//! Choice of cuDNN's algorithms, and their calls.

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr::from_ref,
};

use candle_core::{Error, Result, bail, cuda_backend::cudarc::cudnn::sys};

use super::{
    cudnn::{Algorithm, Choice, Direction, Operands, Problem, WORKSPACE, failed},
    descriptors::{Descriptors, allowed_math},
};
use crate::{ComputeOptions, Precision};

/// One call of cuDNN.
pub struct Call<'a> {
    /// cuDNN's.
    pub handle: sys::cudnnHandle_t,
    /// Of the problem.
    pub descriptors: &'a Descriptors,
    /// Where the operands are.
    pub operands: Operands,
    /// The shared workspace.
    pub workspace: *mut c_void,
}

/// The most algorithms that cuDNN lists.
const MAX_ALGORITHMS: usize = 16;

/// cuDNN's report on an algorithm of any direction.
#[derive(Debug)]
struct Row {
    choice: Choice,
    memory: usize,
    succeeded: bool,
    deterministic: bool,
}

macro_rules! row_from {
    ($($algorithm:ident: $performance:ty),*) => {$(
        impl From<$performance> for Row {
            fn from(row: $performance) -> Self {
                Self {
                    choice: Choice { algorithm: Algorithm::$algorithm(row.algo), math: row.mathType },
                    memory: row.memory,
                    succeeded: row.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS,
                    deterministic: row.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                }
            }
        }
    )*};
}
row_from!(
    Forward: sys::cudnnConvolutionFwdAlgoPerf_t,
    InputGrad: sys::cudnnConvolutionBwdDataAlgoPerf_t,
    WeightGrad: sys::cudnnConvolutionBwdFilterAlgoPerf_t
);

/// The rows that cuDNN writes for a request (requested, count, first).
fn rows<P: Into<Row>>(
    request: impl FnOnce(c_int, *mut c_int, *mut P) -> sys::cudnnStatus_t,
) -> Result<Vec<Row>> {
    let mut rows = [const { MaybeUninit::<P>::uninit() }; MAX_ALGORITHMS];
    let mut count = 0;
    request(
        MAX_ALGORITHMS as c_int,
        &mut count,
        rows.as_mut_ptr().cast(),
    )
    .result()
    .map_err(failed)?;
    let count = usize::try_from(count).map_err(Error::wrap)?;
    let written = rows.into_iter().take(count);
    // SAFETY: cuDNN has written so many.
    Ok(written
        .map(|row| unsafe { row.assume_init() }.into())
        .collect())
}

impl Call<'_> {
    /// The best algorithm that succeeds, fits the workspace and, if required, is deterministic; its math
    /// type is one that the descriptors allow.
    ///
    /// # Safety
    /// That of [`super::cudnn::Cudnn::run`]; the direction's result may be written.
    pub unsafe fn choose(&self, problem: &Problem) -> Result<Choice> {
        let ComputeOptions {
            precision,
            deterministic,
        } = problem.options;
        let rows = if deterministic {
            self.by_heuristics(problem.direction)
        } else {
            // SAFETY: as the caller promises.
            unsafe { self.by_measurement(problem.direction) }
        }?;
        let usable = rows.iter().find(|row| {
            row.succeeded && row.memory <= WORKSPACE && (row.deterministic || !deterministic)
        });
        match usable {
            // For f32 cuDNN may still report a math type of fewer bits.
            Some(row) if precision == Precision::F32 => Ok(Choice {
                math: allowed_math(problem.options),
                ..row.choice
            }),
            Some(row) => Ok(row.choice),
            None => bail!("cuDNN has no algorithm for {problem:?}; it lists {rows:?}"),
        }
    }

    /// Ranked by cuDNN's heuristics, best first.
    fn by_heuristics(&self, direction: Direction) -> Result<Vec<Row>> {
        let &Descriptors {
            x,
            y,
            weight,
            convolution,
        } = self.descriptors;
        let handle = self.handle;
        // SAFETY: the descriptors are set, and there is space for the requested rows.
        match direction {
            Direction::Forward => rows(|requested, count, first| unsafe {
                sys::cudnnGetConvolutionForwardAlgorithm_v7(
                    handle,
                    x,
                    weight,
                    convolution,
                    y,
                    requested,
                    count,
                    first,
                )
            }),
            Direction::InputGrad => rows(|requested, count, first| unsafe {
                sys::cudnnGetConvolutionBackwardDataAlgorithm_v7(
                    handle,
                    weight,
                    y,
                    convolution,
                    x,
                    requested,
                    count,
                    first,
                )
            }),
            Direction::WeightGrad => rows(|requested, count, first| unsafe {
                sys::cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                    handle,
                    x,
                    y,
                    convolution,
                    weight,
                    requested,
                    count,
                    first,
                )
            }),
        }
    }

    /// Measured, fastest first.
    ///
    /// # Safety
    /// That of [`Call::choose`].
    unsafe fn by_measurement(&self, direction: Direction) -> Result<Vec<Row>> {
        let &Descriptors {
            x,
            y,
            weight,
            convolution,
        } = self.descriptors;
        let (handle, workspace) = (self.handle, self.workspace);
        let [x_data, weight_data, y_data] = self.pointers();
        // SAFETY: as above, and the caller vouches for the memory.
        match direction {
            Direction::Forward => rows(|requested, count, first| unsafe {
                sys::cudnnFindConvolutionForwardAlgorithmEx(
                    handle,
                    x,
                    x_data,
                    weight,
                    weight_data,
                    convolution,
                    y,
                    y_data,
                    requested,
                    count,
                    first,
                    workspace,
                    WORKSPACE,
                )
            }),
            Direction::InputGrad => rows(|requested, count, first| unsafe {
                sys::cudnnFindConvolutionBackwardDataAlgorithmEx(
                    handle,
                    weight,
                    weight_data,
                    y,
                    y_data,
                    convolution,
                    x,
                    x_data,
                    requested,
                    count,
                    first,
                    workspace,
                    WORKSPACE,
                )
            }),
            Direction::WeightGrad => rows(|requested, count, first| unsafe {
                sys::cudnnFindConvolutionBackwardFilterAlgorithmEx(
                    handle,
                    x,
                    x_data,
                    y,
                    y_data,
                    convolution,
                    weight,
                    weight_data,
                    requested,
                    count,
                    first,
                    workspace,
                    WORKSPACE,
                )
            }),
        }
    }

    fn pointers(&self) -> [*mut c_void; 3] {
        let Operands { x, weight, y } = self.operands;
        [x, weight, y].map(|address| address as *mut c_void)
    }

    /// Computes the algorithm's direction.
    ///
    /// # Safety
    /// That of [`super::cudnn::Cudnn::run`].
    pub unsafe fn run(&self, choice: Choice) -> Result<()> {
        let &Descriptors {
            x,
            y,
            weight,
            convolution,
        } = self.descriptors;
        self.descriptors.set_math(choice.math)?;
        let (handle, workspace) = (self.handle, self.workspace);
        let [x_data, weight_data, y_data] = self.pointers();
        let (one, zero) = (1.0f32, 0.0f32);
        let (one, zero) = (from_ref(&one).cast(), from_ref(&zero).cast());
        // SAFETY: the descriptors are set, and the caller vouches for the memory.
        let status = unsafe {
            match choice.algorithm {
                Algorithm::Forward(algorithm) => sys::cudnnConvolutionForward(
                    handle,
                    one,
                    x,
                    x_data,
                    weight,
                    weight_data,
                    convolution,
                    algorithm,
                    workspace,
                    WORKSPACE,
                    zero,
                    y,
                    y_data,
                ),
                Algorithm::InputGrad(algorithm) => sys::cudnnConvolutionBackwardData(
                    handle,
                    one,
                    weight,
                    weight_data,
                    y,
                    y_data,
                    convolution,
                    algorithm,
                    workspace,
                    WORKSPACE,
                    zero,
                    x,
                    x_data,
                ),
                Algorithm::WeightGrad(algorithm) => sys::cudnnConvolutionBackwardFilter(
                    handle,
                    one,
                    x,
                    x_data,
                    y,
                    y_data,
                    convolution,
                    algorithm,
                    workspace,
                    WORKSPACE,
                    zero,
                    weight,
                    weight_data,
                ),
            }
        };
        status.result().map_err(failed)
    }
}
