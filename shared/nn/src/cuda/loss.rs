//! Mean cross entropy of a batch and its gradient, in one launch each.

use candle_core::{CudaStorage, Result, Tensor, bail, cuda_backend::CudaStorageSlice};

use super::{
    Argument, MapType,
    feature_map::{address_of, alloc, f32_address, tensor, with_storages},
    module::{self, KernelArg},
};

/// The scalar loss of logits `[B,classes]` and labels `[B]` (u32), of which `smoothing` is spread evenly over all
/// classes.
pub fn cross_entropy(logits: Argument, labels: &Tensor, smoothing: f64) -> Result<CudaStorage> {
    with_storages([labels], |[labels]| {
        let device = &logits.0.device;
        let loss = alloc(device, MapType::F32, 1)?;
        let inputs = Inputs::new(logits, labels)?;
        let arguments = [
            KernelArg::Address(inputs.logits),
            KernelArg::Address(inputs.labels),
            KernelArg::int(inputs.rows)?,
            KernelArg::int(inputs.classes)?,
            KernelArg::Float(smoothing as f32),
            KernelArg::Address(address_of(&loss)?),
        ];
        // SAFETY: the inputs were checked; the loss is one number.
        unsafe { module::launch(device, "cross_entropy", [1, 1], &arguments) }?;
        Ok(loss)
    })
}

/// The gradient of the logits from that of the loss.
pub fn cross_entropy_backward(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    gradient: &Tensor,
) -> Result<Tensor> {
    with_storages([logits, labels, gradient], |[x, labels, gradient]| {
        let device = &x.0.device;
        let grad = alloc(device, MapType::F32, logits.elem_count())?;
        let inputs = Inputs::new(x, labels)?;
        let arguments = [
            KernelArg::Address(inputs.logits),
            KernelArg::Address(inputs.labels),
            KernelArg::int(inputs.rows)?,
            KernelArg::int(inputs.classes)?,
            KernelArg::Float(smoothing as f32),
            KernelArg::Address(f32_address(gradient.0, gradient.1)?),
            KernelArg::Address(address_of(&grad)?),
        ];
        // SAFETY: the inputs were checked; the loss's gradient is one number, that of the logits is of their size.
        unsafe { module::for_each(device, "cross_entropy_backward", inputs.rows, &arguments) }?;
        Ok(tensor(grad, logits.shape()))
    })
}

/// Addresses of logits and labels that fit each other, and their sizes.
struct Inputs {
    logits: u64,
    labels: u64,
    rows: usize,
    classes: usize,
}

impl Inputs {
    fn new((logits, logits_layout): Argument, (labels, labels_layout): Argument) -> Result<Self> {
        let (rows, classes) = logits_layout.shape().dims2()?;
        let is_u32 = matches!(labels.slice, CudaStorageSlice::U32(_));
        match labels_layout.contiguous_offsets() {
            Some((start, end)) if is_u32 && end - start == rows && rows * classes > 0 => Ok(Self {
                logits: f32_address(logits, logits_layout)?,
                labels: address_of(labels)? + 4 * start as u64,
                rows,
                classes,
            }),
            _ => bail!(
                "u32 labels {:?} of logits {:?}",
                labels_layout.shape(),
                logits_layout.shape()
            ),
        }
    }
}
