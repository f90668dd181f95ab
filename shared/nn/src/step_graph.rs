//! Training steps as one CUDA graph: the operations of a step are recorded once, and launched together for all later
//! batches of the same shape, with nothing to allocate and one launch instead of hundreds. On the CPU, and for other
//! shapes, they run one by one.

use base::Result;
use candle_core::{Device, Tensor};

use crate::cuda;

/// A batch of a classifier, and the learning rate of its step.
pub struct StepBatch<'a> {
    /// `[B,3,H,W]` f32, on the device.
    pub images: &'a Tensor,
    /// `B` classes.
    pub labels: Vec<u32>,
    /// Learning rate.
    pub rate: f32,
}

/// The same as tensors on the device. A recorded step reads these for every batch, so it may use nothing else of one.
pub struct StepInputs {
    /// `[B,3,H,W]` f32.
    pub images: Tensor,
    /// `[B]` u32.
    pub labels: Tensor,
    /// A scalar f32.
    pub rate: Tensor,
}

/// What a step computes.
pub struct StepResults {
    /// A scalar f32.
    pub loss: Tensor,
    /// `[B,classes]` f32.
    pub logits: Tensor,
}

impl StepBatch<'_> {
    /// Uploads labels and rate.
    pub fn inputs(&self) -> Result<StepInputs> {
        let device = self.images.device();
        Ok(StepInputs {
            images: self.images.clone(),
            labels: Tensor::new(self.labels.as_slice(), device)?,
            rate: Tensor::new(self.rate, device)?,
        })
    }
}

/// The steps of one model.
pub enum StepGraph {
    /// Runs each step as it comes.
    Cpu,
    /// Records a step on CUDA.
    Cuda(cuda::StepRecorder),
}

impl StepGraph {
    /// For a model on this device.
    pub fn new(device: &Device) -> Result<Self> {
        match device {
            Device::Cuda(device) => Ok(Self::Cuda(cuda::StepRecorder::new(device)?)),
            _ => Ok(Self::Cpu),
        }
    }

    /// Runs `step`, and returns its results, which the next run may overwrite. `step` must do the same for all batches of a
    /// shape, in memory that stays where it is (call [`Self::forget`] when it does not); it is called twice for
    /// the first batch that it is recorded with if it cannot be recorded, of which a warning tells.
    ///
    /// # Errors
    /// Those of `step`; [`base::Error::Tensor`] of the device.
    pub fn run(
        &mut self,
        batch: &StepBatch,
        step: &mut dyn FnMut(&StepInputs) -> Result<StepResults>,
    ) -> Result<StepResults> {
        match self {
            Self::Cpu => step(&batch.inputs()?),
            Self::Cuda(recorder) => recorder.run(batch, step),
        }
    }

    /// Drops what was recorded, after weights or the optimizer's state have moved to other memory.
    pub fn forget(&mut self) {
        if let Self::Cuda(recorder) = self {
            recorder.forget();
        }
    }
}
