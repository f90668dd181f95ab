//! Convolutions by cuDNN, NHWC: device addresses come in, memory at them is written. Which
//! algorithm computes a shape is found out once, by trying all of them in the workspace that they
//! share; where runs must repeat to the bit, by cuDNN's own ranking among the deterministic ones.

use std::{
    collections::HashMap,
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr::from_ref,
    sync::Arc,
};

use candle_core::{
    Error, Result, bail,
    cuda_backend::{
        CudaDevice,
        cudarc::{
            cudnn::{result, sys},
            driver::{CudaSlice, CudaStream, sys::CUdeviceptr},
        },
    },
};

use super::{Kind, address};
use crate::nn::{
    arithmetic::{Arithmetic, Precision},
    geometry::{Geometry, Pictures},
};

/// Bytes that all convolutions share for what they keep in between.
pub const WORKSPACE: usize = 512 << 20;

/// One of the three directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// y from x and weight.
    Forward,
    /// x's gradient from weight and y's gradient.
    Input,
    /// The weight's gradient from x and y's gradient.
    Weight,
}

/// Addresses of `[B,H,W,I]`, `[O,k,k,I]` and `[B,H',W',O]`; what the direction computes is written.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// The input or its gradient.
    pub x: CUdeviceptr,
    /// The weight or its gradient.
    pub weight: CUdeviceptr,
    /// The output or its gradient.
    pub y: CUdeviceptr,
}

/// What an algorithm was found for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Case {
    geometry: Geometry,
    kind: Kind,
    direction: Direction,
    arithmetic: Arithmetic,
}

/// An algorithm, and how it multiplies.
#[derive(Clone, Copy, Debug)]
struct Choice {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Input(sys::cudnnConvolutionBwdDataAlgo_t),
    Weight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// cuDNN on one device.
pub struct Convolutions {
    handle: sys::cudnnHandle_t,
    workspace: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    choices: HashMap<Case, Choice>,
}

// SAFETY: a handle may be used by any thread, by one at a time: whoever calls has a `&mut`.
unsafe impl Send for Convolutions {}

impl Convolutions {
    /// Opens cuDNN and takes the workspace.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let handle = result::create_handle().map_err(failed)?;
        // SAFETY: the stream lives as long as the device, which holds it.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(failed)?;
        Ok(Self {
            handle,
            // SAFETY: nobody reads it before cuDNN has written it.
            workspace: unsafe { device.alloc(WORKSPACE) }?,
            stream,
            choices: HashMap::new(),
        })
    }

    /// Computes a direction.
    ///
    /// # Safety
    /// The operands are as large as the geometry says, of this kind, and on this device.
    pub unsafe fn run(
        &mut self,
        geometry: &Geometry,
        kind: Kind,
        arithmetic: Arithmetic,
        direction: Direction,
        operands: Operands,
    ) -> Result<()> {
        let case = Case {
            geometry: *geometry,
            kind,
            direction,
            arithmetic,
        };
        let shapes = Shapes::new(&case)?;
        let (workspace, _workspace_in_use) = address(&self.workspace, &self.stream);
        let job = Job {
            handle: self.handle,
            shapes: &shapes,
            operands,
            workspace: workspace as *mut c_void,
        };
        let choice = match self.choices.get(&case) {
            Some(choice) => *choice,
            None => {
                // SAFETY: as the caller promises.
                let choice = unsafe { job.choose(&case) }?;
                self.choices.insert(case, choice);
                choice
            }
        };
        // SAFETY: as the caller promises.
        unsafe { job.run(choice) }
    }
}

impl Drop for Convolutions {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and nobody uses it any more. There is nothing to be done about
        // a failure.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

fn failed(error: result::CudnnError) -> Error {
    if error.0 == sys::cudnnStatus_t::CUDNN_STATUS_ALLOC_FAILED {
        return Error::Msg("out of memory in cuDNN".into());
    }
    Error::Msg(format!("cuDNN: {error}"))
}

fn size(number: usize) -> Result<c_int> {
    c_int::try_from(number).map_err(Error::wrap)
}

/// cuDNN's descriptions of the operands and of the convolution.
struct Shapes {
    x: sys::cudnnTensorDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    weight: sys::cudnnFilterDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Shapes {
    fn new(case: &Case) -> Result<Self> {
        let Case {
            geometry,
            kind,
            arithmetic,
            ..
        } = case;
        let kind = match kind {
            Kind::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            Kind::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        };
        let nhwc = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        // SAFETY: each description is made before it is filled; on an error what was made is lost,
        // a few bytes.
        unsafe {
            let shapes = Self {
                x: result::create_tensor_descriptor().map_err(failed)?,
                y: result::create_tensor_descriptor().map_err(failed)?,
                weight: result::create_filter_descriptor().map_err(failed)?,
                convolution: result::create_convolution_descriptor().map_err(failed)?,
            };
            let sizes = |p: Pictures| -> Result<[c_int; 4]> {
                Ok([
                    size(p.images)?,
                    size(p.channels)?,
                    size(p.height)?,
                    size(p.width)?,
                ])
            };
            let tensor = |descriptor, pictures: Pictures| -> Result<()> {
                result::set_tensor4d_descriptor(descriptor, nhwc, kind, sizes(pictures)?)
                    .map_err(failed)
            };
            tensor(shapes.x, geometry.input)?;
            tensor(shapes.y, geometry.output())?;
            let kernel = size(geometry.kernel)?;
            let (out, inputs) = (size(geometry.c_out)?, size(geometry.input.channels)?);
            sys::cudnnSetFilter4dDescriptor(shapes.weight, kind, nhwc, out, inputs, kernel, kernel)
                .result()
                .map_err(failed)?;
            let (padding, stride) = (size(geometry.padding)?, size(geometry.stride)?);
            sys::cudnnSetConvolution2dDescriptor(
                shapes.convolution,
                padding,
                padding,
                stride,
                stride,
                1,
                1,
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            )
            .result()
            .map_err(failed)?;
            shapes.multiply_by(allowed_math(*arithmetic))?;
            Ok(shapes)
        }
    }

    fn multiply_by(&self, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the description is ours.
        unsafe { sys::cudnnSetConvolutionMathType(self.convolution, math) }
            .result()
            .map_err(failed)
    }
}

impl Drop for Shapes {
    fn drop(&mut self) {
        // SAFETY: all four are ours, and cuDNN copies what it needs when it is called.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_filter_descriptor(self.weight);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}

/// f32 is f32: no shorter factors. Otherwise tensor cores may take TF32, or bf16 as it comes.
fn allowed_math(arithmetic: Arithmetic) -> sys::cudnnMathType_t {
    match arithmetic.precision {
        Precision::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
        Precision::Tf32 | Precision::Bf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
    }
}

/// One call of cuDNN.
struct Job<'a> {
    handle: sys::cudnnHandle_t,
    shapes: &'a Shapes,
    operands: Operands,
    workspace: *mut c_void,
}

/// How many algorithms cuDNN is asked about.
const ASKED: usize = 16;

/// What cuDNN says of an algorithm, whatever the direction.
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
    /// The best algorithm that works, fits the workspace, multiplies as it may and, if so wanted,
    /// repeats to the bit.
    ///
    /// # Safety
    /// That of [`Convolutions::run`]; what the direction computes may be written.
    unsafe fn choose(&self, case: &Case) -> Result<Choice> {
        let Arithmetic {
            precision,
            deterministic,
        } = case.arithmetic;
        let rows = if deterministic {
            self.ranked(case.direction)
        } else {
            // SAFETY: as the caller promises.
            unsafe { self.tried(case.direction) }
        }?;
        let usable = rows.into_iter().find(|row| {
            let exact = row.choice.math == sys::cudnnMathType_t::CUDNN_FMA_MATH;
            row.works
                && row.memory <= WORKSPACE
                && (exact || precision != Precision::F32)
                && (row.repeats || !deterministic)
        });
        match usable {
            Some(row) => Ok(row.choice),
            None => bail!("cuDNN has no algorithm for {case:?}"),
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
    unsafe fn run(&self, choice: Choice) -> Result<()> {
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
