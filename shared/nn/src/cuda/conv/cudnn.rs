//! cuDNN's convolutions of NHWC feature maps at device addresses. The algorithm for a shape is chosen once,
//! by trying all of them in a shared workspace; where runs must repeat to the bit, by cuDNN's own ranking
//! among the deterministic ones.

use std::{
    collections::HashMap,
    ffi::c_void,
    sync::{Arc, LazyLock, Mutex},
};

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice, DeviceId,
        cudarc::{
            cudnn::{result, sys},
            driver::{CudaSlice, CudaStream, sys::CUdeviceptr},
        },
    },
};

use super::{
    super::{MapType, address},
    algorithm::Call,
    descriptors::Descriptors,
};
use crate::{ComputeOptions, ops::locked};
use kernels::shape::ConvShape;

/// Bytes of the workspace that all convolutions share.
pub const WORKSPACE: usize = 512 << 20;

/// What is computed from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// y from x and weight.
    Forward,
    /// x's gradient from weight and y's gradient.
    InputGrad,
    /// The weight's gradient from x and y's gradient.
    WeightGrad,
}

/// Addresses of `[B,H,W,I]`, `[O,k,k,I]` and `[B,H',W',O]`; the direction's result is written.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// The input or its gradient.
    pub x: CUdeviceptr,
    /// The weight or its gradient.
    pub weight: CUdeviceptr,
    /// The output or its gradient.
    pub y: CUdeviceptr,
}

/// What an algorithm is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    pub shape: ConvShape,
    pub map_type: MapType,
    pub direction: Direction,
    pub options: ComputeOptions,
}

/// An algorithm and its math type.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    pub algorithm: Algorithm,
    pub math: sys::cudnnMathType_t,
}

/// An algorithm of a direction.
#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    InputGrad(sys::cudnnConvolutionBwdDataAlgo_t),
    WeightGrad(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// cuDNN on one device.
pub struct Cudnn {
    handle: sys::cudnnHandle_t,
    workspace: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    choices: HashMap<Problem, Choice>,
}

// SAFETY: a handle may be used by any thread, by one at a time: the caller has a `&mut`.
unsafe impl Send for Cudnn {}

impl Cudnn {
    /// Opens cuDNN and allocates the workspace.
    pub fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        let handle = result::create_handle().map_err(failed)?;
        // SAFETY: the stream lives as long as the device, which holds it.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(failed)?;
        Ok(Self {
            handle,
            // SAFETY: it is not read before cuDNN has written it.
            workspace: unsafe { device.alloc(WORKSPACE) }?,
            stream,
            choices: HashMap::new(),
        })
    }

    /// Computes one direction of a convolution.
    ///
    /// # Safety
    /// The operands are of the shape's sizes, of this type, and on this device.
    pub unsafe fn run(
        &mut self,
        shape: &ConvShape,
        map_type: MapType,
        options: ComputeOptions,
        direction: Direction,
        operands: Operands,
    ) -> Result<()> {
        let problem = Problem {
            shape: *shape,
            map_type,
            direction,
            options,
        };
        let descriptors = Descriptors::new(&problem)?;
        let (workspace, _workspace_in_use) = address(&self.workspace, &self.stream);
        let call = Call {
            handle: self.handle,
            descriptors: &descriptors,
            operands,
            workspace: workspace as *mut c_void,
        };
        let choice = match self.choices.get(&problem) {
            Some(choice) => *choice,
            None => {
                // SAFETY: as the caller promises.
                let choice = unsafe { call.choose(&problem) }?;
                self.choices.insert(problem, choice);
                choice
            }
        };
        // SAFETY: as the caller promises.
        unsafe { call.run(choice) }
    }
}

impl Drop for Cudnn {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is its last use. A failure cannot be handled.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// cuDNN's error as candle's.
pub fn failed(error: result::CudnnError) -> Error {
    if error.0 == sys::cudnnStatus_t::CUDNN_STATUS_ALLOC_FAILED {
        return Error::Msg("out of memory in cuDNN".into());
    }
    Error::Msg(format!("cuDNN: {error}"))
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
