//! Convolutions by cuDNN, NHWC: device addresses come in, memory at them is written. Which
//! algorithm computes a shape is found out once, by trying all of them in the workspace that they
//! share; where runs must repeat to the bit, by cuDNN's own ranking among the deterministic ones.

mod job;
mod shapes;

use std::{collections::HashMap, ffi::c_void, sync::Arc};

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::{
            cudnn::{result, sys},
            driver::{CudaSlice, CudaStream, sys::CUdeviceptr},
        },
    },
};

use self::{job::Job, shapes::Shapes};
use super::{Kind, address};
use crate::arithmetic::ComputeOptions;
use ::kernels::shape::ConvShape;

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
    geometry: ConvShape,
    kind: Kind,
    direction: Direction,
    arithmetic: ComputeOptions,
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
        geometry: &ConvShape,
        kind: Kind,
        arithmetic: ComputeOptions,
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
