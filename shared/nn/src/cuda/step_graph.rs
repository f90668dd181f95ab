//! Training steps recorded as CUDA graphs by stream capture. Memory that a step allocates and frees becomes part of the
//! graph; what it reads and writes beyond is at fixed addresses: weights, the optimizer's state, inputs and results.

use std::{env, sync::Arc};

use base::log;
use candle_core::{
    DType, Device, Error, Shape, Tensor, bail,
    cuda_backend::{
        CudaDevice,
        cudarc::driver::{
            CudaGraph, CudaStream, DriverError, result,
            sys::{
                self, CUdeviceptr, CUgraph, CUgraphInstantiate_flags, CUgraphNode, CUgraphNodeType,
                CUmemorytype, CUstreamCaptureMode,
            },
        },
    },
};

use super::{
    cudnn::with_cudnn,
    device_memory::release_memory,
    feature_map::{address_of, with_storages},
};
use crate::step_graph::{StepBatch, StepInputs, StepResults};

/// `off` runs all steps operation by operation; to find a fault, and to compare.
const GRAPH_VARIABLE: &str = "MITHRIDATE_STEP_GRAPH";

/// Runs steps, and records the one whose shape comes twice in a row: the first time, convolutions are tuned and kernels loaded,
/// which cannot be recorded.
pub struct StepRecorder {
    device: CudaDevice,
    state: State,
}

enum State {
    /// Nothing has run.
    New,
    /// A step on images of this shape has run, with logits of that.
    Ran(Shape, Shape),
    /// Steps of one shape are replayed.
    Recorded(RecordedStep),
    /// Steps are not recorded.
    Off,
}

impl StepRecorder {
    /// For steps on this device.
    pub fn new(device: &CudaDevice) -> candle_core::Result<Self> {
        let is_off = env::var_os(GRAPH_VARIABLE).is_some_and(|value| value == "off");
        Ok(Self {
            device: device.clone(),
            state: if is_off { State::Off } else { State::New },
        })
    }

    /// Forgets what was recorded.
    pub fn forget(&mut self) {
        if !matches!(self.state, State::Off) {
            self.state = State::New;
        }
    }

    /// Replays, records or runs a step.
    pub fn run(
        &mut self,
        batch: &StepBatch,
        step: &mut dyn FnMut(&StepInputs) -> base::Result<StepResults>,
    ) -> base::Result<StepResults> {
        let shape = batch.images.shape();
        if let State::Ran(seen, logits) = &self.state
            && seen == shape
        {
            self.state = match RecordedStep::new(&self.device, batch, logits, step) {
                Ok(recorded) => State::Recorded(recorded),
                Err(reason) => {
                    log::warning(format_args!(
                        "training steps run operation by operation, which is slower for small batches; no CUDA graph: {reason}"
                    ));
                    State::Off
                }
            };
        }
        if let State::Recorded(recorded) = &self.state
            && recorded.inputs.images.shape() == shape
        {
            return Ok(recorded.replay(batch)?);
        }
        let results = step(&batch.inputs()?)?;
        if matches!(self.state, State::New | State::Ran(..)) {
            self.state = State::Ran(shape.clone(), results.logits.shape().clone());
        }
        Ok(results)
    }
}

/// A step as a graph.
struct RecordedStep {
    graph: CudaGraph,
    stream: Arc<CudaStream>,
    /// What the graph reads.
    inputs: StepInputs,
    /// What it writes; the loss as `[1]`.
    results: StepResults,
}

impl RecordedStep {
    /// Records a step on batches like this one, without running it.
    fn new(
        device: &CudaDevice,
        batch: &StepBatch,
        logits: &Shape,
        step: &mut dyn FnMut(&StepInputs) -> base::Result<StepResults>,
    ) -> base::Result<Self> {
        let place = Device::Cuda(device.clone());
        let zeros = |shape: &Shape, dtype| Tensor::zeros(shape, dtype, &place);
        let inputs = StepInputs {
            images: zeros(batch.images.shape(), DType::F32)?,
            labels: zeros(&Shape::from(batch.labels.len()), DType::U32)?,
            rate: zeros(&Shape::from(()), DType::F32)?,
        };
        let results = StepResults {
            loss: zeros(&Shape::from(1), DType::F32)?,
            logits: zeros(logits, DType::F32)?,
        };
        let graph = capture(device, || {
            let StepResults { loss, logits } = step(&inputs)?;
            results.loss.slice_set(&loss.reshape(1)?, 0, 0)?;
            Ok(results.logits.slice_set(&logits.contiguous()?, 0, 0)?)
        })?;
        // The pool keeps what steps have used so far; the graph has memory of its own.
        release_memory(device)?;
        Ok(Self {
            graph,
            stream: device.cuda_stream(),
            inputs,
            results,
        })
    }

    /// Runs the step on a batch of its shape.
    fn replay(&self, batch: &StepBatch) -> candle_core::Result<StepResults> {
        let StepInputs {
            images,
            labels,
            rate,
        } = &self.inputs;
        if batch.labels.len() != labels.elem_count() {
            bail!("{} labels of {images:?}", batch.labels.len())
        }
        images.slice_set(&batch.images.contiguous()?, 0, 0)?;
        self.overwrite(labels, &batch.labels)?;
        self.overwrite(rate, &[batch.rate])?;
        self.graph.launch().map_err(Error::wrap)?;
        Ok(StepResults {
            loss: self.results.loss.reshape(())?,
            logits: self.results.logits.clone(),
        })
    }

    /// Copies as many values into a tensor, in the order of the stream.
    fn overwrite<T>(&self, tensor: &Tensor, values: &[T]) -> candle_core::Result<()> {
        with_storages([tensor], |[(storage, _)]| {
            // SAFETY: the tensor has as many elements of this type, as `new` made it. Pageable memory has been read when the
            // call returns.
            unsafe {
                result::memcpy_htod_async(address_of(storage)?, values, self.stream.cu_stream())
            }
            .map_err(Error::wrap)
        })
    }
}

impl Drop for RecordedStep {
    fn drop(&mut self) {
        // The graph is destroyed next. An error here is the context's, which later calls report.
        let _ = self.stream.synchronize();
    }
}

/// The graph of what `work` launches.
fn capture(
    device: &CudaDevice,
    work: impl FnOnce() -> base::Result<()>,
) -> base::Result<CudaGraph> {
    let stream = device.cuda_stream();
    // The workspace may be allocated anew when it must grow: that of a graph is its own.
    let release_workspace = || {
        with_cudnn(device, |cudnn| {
            cudnn.device_and_workspace().1.release();
            Ok(())
        })
    };
    release_workspace()?;
    stream
        .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED)
        .map_err(Error::wrap)?;
    let worked = work();
    let released = release_workspace();
    // Frees fail in a capture that is no longer valid. `end_capture` would return such an error first, and not end the capture.
    let freed = stream.context().check_err();
    let graph = stream.end_capture(CUgraphInstantiate_flags(0));
    worked?;
    released?;
    freed.map_err(Error::wrap)?;
    let Some(graph) = graph.map_err(Error::wrap)? else {
        return Err(Error::Msg("the capture is empty".into()).into());
    };
    check_nodes(graph.cu_graph())?;
    Ok(graph)
}

/// Refuses a graph that reads or writes memory of the host: candle uploads shapes and strides from memory that is gone when the graph
/// runs.
fn check_nodes(graph: CUgraph) -> candle_core::Result<()> {
    use CUgraphNodeType::*;
    for node in nodes(graph).map_err(Error::wrap)? {
        let mut kind = CU_GRAPH_NODE_TYPE_EMPTY;
        // SAFETY: the node is the graph's, which lives.
        let status = unsafe { sys::cuGraphNodeGetType(node, &mut kind) };
        status.result().map_err(Error::wrap)?;
        match kind {
            CU_GRAPH_NODE_TYPE_KERNEL
            | CU_GRAPH_NODE_TYPE_MEMSET
            | CU_GRAPH_NODE_TYPE_MEM_ALLOC
            | CU_GRAPH_NODE_TYPE_MEM_FREE
            | CU_GRAPH_NODE_TYPE_EMPTY => {}
            CU_GRAPH_NODE_TYPE_MEMCPY if is_on_device(node).map_err(Error::wrap)? => {}
            CU_GRAPH_NODE_TYPE_MEMCPY => bail!("the step copies from the host"),
            other => bail!("the step has a node {other:?}"),
        }
    }
    Ok(())
}

/// All nodes of a graph.
fn nodes(graph: CUgraph) -> Result<Vec<CUgraphNode>, DriverError> {
    let mut len = 0;
    // SAFETY: with a null list, only the number is written.
    unsafe { sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut len) }.result()?;
    let mut nodes = vec![std::ptr::null_mut(); len];
    // SAFETY: the list has room for that many.
    unsafe { sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut len) }.result()?;
    Ok(nodes)
}

/// Whether a copy is one between memory of the device.
fn is_on_device(node: CUgraphNode) -> Result<bool, DriverError> {
    // SAFETY: all fields are numbers and addresses, and zeros are valid for them but for the types of memory,
    // which the call writes before they are read.
    let mut copy: std::mem::MaybeUninit<sys::CUDA_MEMCPY3D> = std::mem::MaybeUninit::zeroed();
    // SAFETY: the node is a copy of a graph that lives.
    unsafe { sys::cuGraphMemcpyNodeGetParams(node, copy.as_mut_ptr()) }.result()?;
    // SAFETY: the call has succeeded, and so written all of it.
    let copy = unsafe { copy.assume_init() };
    Ok(is_device(copy.srcMemoryType, copy.srcDevice)
        && is_device(copy.dstMemoryType, copy.dstDevice))
}

/// Whether an address of this type of memory is the device's. Where the type does not say, the driver knows of each address
/// but those of the host that are not pinned.
fn is_device(kind: CUmemorytype, address: CUdeviceptr) -> bool {
    const DEVICE: u32 = CUmemorytype::CU_MEMORYTYPE_DEVICE as u32;
    if kind != CUmemorytype::CU_MEMORYTYPE_UNIFIED {
        return kind as u32 == DEVICE;
    }
    let mut found = 0u32;
    // SAFETY: the attribute is an unsigned int, according to the driver's manual.
    let status = unsafe {
        sys::cuPointerGetAttribute(
            std::ptr::from_mut(&mut found).cast(),
            sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
            address,
        )
    };
    status.result().is_ok() && found == DEVICE
}
