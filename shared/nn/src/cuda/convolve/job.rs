//! Calls of cuDNN: descriptions and addresses come in, an algorithm or what it computes goes out.

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr::from_ref,
};

use candle_core::{Error, Result, bail, cuda_backend::cudarc::cudnn::sys};

use super::{
    Algorithm, Case, Choice, Direction, Operands, WORKSPACE, failed,
    shapes::{Shapes, allowed_math},
};
use crate::arithmetic::{ComputeOptions, Precision};

/// One call of cuDNN.
pub(super) struct Job<'a> {
    pub handle: sys::cudnnHandle_t,
    pub shapes: &'a Shapes,
    pub operands: Operands,
    pub workspace: *mut c_void,
}

/// How many algorithms cuDNN is asked about.
const ASKED: usize = 16;

/// What cuDNN says of an algorithm, whatever the direction.
#[derive(Debug)]
struct Row {
    choice: Choice,
    memory: usize,
    works: bool,
    repeats: bool,
}

macro_rules! row_from {
    ($($algorithm:ident: $performance:ty),*) => {$(
        impl From<$performance> for Row {
            fn from(row: $performance) -> Self {
                Self {
                    choice: Choice { algorithm: Algorithm::$algorithm(row.algo), math: row.mathType },
                    memory: row.memory,
                    works: row.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS,
                    repeats: row.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                }
            }
        }
    )*};
}
row_from!(
    Forward: sys::cudnnConvolutionFwdAlgoPerf_t,
    Input: sys::cudnnConvolutionBwdDataAlgoPerf_t,
    Weight: sys::cudnnConvolutionBwdFilterAlgoPerf_t
);

/// The rows that cuDNN writes when asked for so many: (asked, count, first).
fn rows<P: Into<Row>>(
    ask: impl FnOnce(c_int, *mut c_int, *mut P) -> sys::cudnnStatus_t,
) -> Result<Vec<Row>> {
    let mut rows = [const { MaybeUninit::<P>::uninit() }; ASKED];
    let mut count = 0;
    ask(ASKED as c_int, &mut count, rows.as_mut_ptr().cast())
        .result()
        .map_err(failed)?;
    let count = usize::try_from(count).map_err(Error::wrap)?;
    let written = rows.into_iter().take(count);
    // SAFETY: cuDNN has filled so many.
    Ok(written
        .map(|row| unsafe { row.assume_init() }.into())
        .collect())
}

impl Job<'_> {
    /// The best algorithm that works, fits the workspace and, if so wanted, repeats to the bit; all
    /// that are named multiply as the shapes allow.
    ///
    /// # Safety
    /// That of [`Convolutions::run`]; what the direction computes may be written.
    pub unsafe fn choose(&self, case: &Case) -> Result<Choice> {
        let ComputeOptions {
            precision,
            deterministic,
        } = case.arithmetic;
        let rows = if deterministic {
            self.ranked(case.direction)
        } else {
            // SAFETY: as the caller promises.
            unsafe { self.tried(case.direction) }
        }?;
        let usable = rows
            .iter()
            .find(|row| row.works && row.memory <= WORKSPACE && (row.repeats || !deterministic));
        match usable {
            // Asked for f32 cuDNN may still name a math type that allows less.
            Some(row) if precision == Precision::F32 => Ok(Choice {
                math: allowed_math(case.arithmetic),
                ..row.choice
            }),
            Some(row) => Ok(row.choice),
            None => bail!("cuDNN has no algorithm for {case:?}; it offers {rows:?}"),
        }
    }

    /// By cuDNN's own judgement, best first.
    fn ranked(&self, direction: Direction) -> Result<Vec<Row>> {
        let &Shapes {
            x,
            y,
            weight,
            convolution,
        } = self.shapes;
        let handle = self.handle;
        // SAFETY: the descriptions are whole, and there is room for as many rows as asked.
        match direction {
            Direction::Forward => rows(|asked, count, first| unsafe {
                sys::cudnnGetConvolutionForwardAlgorithm_v7(
                    handle,
                    x,
                    weight,
                    convolution,
                    y,
                    asked,
                    count,
                    first,
                )
            }),
            Direction::Input => rows(|asked, count, first| unsafe {
                sys::cudnnGetConvolutionBackwardDataAlgorithm_v7(
                    handle,
                    weight,
                    y,
                    convolution,
                    x,
                    asked,
                    count,
                    first,
                )
            }),
            Direction::Weight => rows(|asked, count, first| unsafe {
                sys::cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                    handle,
                    x,
                    y,
                    convolution,
                    weight,
                    asked,
                    count,
                    first,
                )
            }),
        }
    }

    /// By trying all, fastest first.
    ///
    /// # Safety
    /// That of [`Job::choose`].
    unsafe fn tried(&self, direction: Direction) -> Result<Vec<Row>> {
        let &Shapes {
            x,
            y,
            weight,
            convolution,
        } = self.shapes;
        let (handle, workspace) = (self.handle, self.workspace);
        let [at_x, at_weight, at_y] = self.pointers();
        // SAFETY: as above, and the caller promises the memory.
        match direction {
            Direction::Forward => rows(|asked, count, first| unsafe {
                sys::cudnnFindConvolutionForwardAlgorithmEx(
                    handle,
                    x,
                    at_x,
                    weight,
                    at_weight,
                    convolution,
                    y,
                    at_y,
                    asked,
                    count,
                    first,
                    workspace,
                    WORKSPACE,
                )
            }),
            Direction::Input => rows(|asked, count, first| unsafe {
                sys::cudnnFindConvolutionBackwardDataAlgorithmEx(
                    handle,
                    weight,
                    at_weight,
                    y,
                    at_y,
                    convolution,
                    x,
                    at_x,
                    asked,
                    count,
                    first,
                    workspace,
                    WORKSPACE,
                )
            }),
            Direction::Weight => rows(|asked, count, first| unsafe {
                sys::cudnnFindConvolutionBackwardFilterAlgorithmEx(
                    handle,
                    x,
                    at_x,
                    y,
                    at_y,
                    convolution,
                    weight,
                    at_weight,
                    asked,
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
        [x, weight, y].map(|at| at as *mut c_void)
    }

    /// Computes what the algorithm is for.
    ///
    /// # Safety
    /// That of [`Convolutions::run`].
    pub unsafe fn run(&self, choice: Choice) -> Result<()> {
        let &Shapes {
            x,
            y,
            weight,
            convolution,
        } = self.shapes;
        self.shapes.multiply_by(choice.math)?;
        let (handle, workspace) = (self.handle, self.workspace);
        let [at_x, at_weight, at_y] = self.pointers();
        let (one, zero) = (1.0f32, 0.0f32);
        let (one, zero) = (from_ref(&one).cast(), from_ref(&zero).cast());
        // SAFETY: the descriptions are whole, and the caller promises the memory.
        let status = unsafe {
            match choice.algorithm {
                Algorithm::Forward(algorithm) => sys::cudnnConvolutionForward(
                    handle,
                    one,
                    x,
                    at_x,
                    weight,
                    at_weight,
                    convolution,
                    algorithm,
                    workspace,
                    WORKSPACE,
                    zero,
                    y,
                    at_y,
                ),
                Algorithm::Input(algorithm) => sys::cudnnConvolutionBackwardData(
                    handle,
                    one,
                    weight,
                    at_weight,
                    y,
                    at_y,
                    convolution,
                    algorithm,
                    workspace,
                    WORKSPACE,
                    zero,
                    x,
                    at_x,
                ),
                Algorithm::Weight(algorithm) => sys::cudnnConvolutionBackwardFilter(
                    handle,
                    one,
                    x,
                    at_x,
                    y,
                    at_y,
                    convolution,
                    algorithm,
                    workspace,
                    WORKSPACE,
                    zero,
                    weight,
                    at_weight,
                ),
            }
        };
        status.result().map_err(failed)
    }
}
