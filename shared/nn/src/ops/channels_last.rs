//! A classifier's input: pixels with their channels last, normalized.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use crate::cuda;

/// `[B,C,H,W]` as `[B,H,W,C]`, `(x - mean) / std` if there are these `[C]`; all f32.
pub fn channels_last(images: &Tensor, normalization: Option<[&Tensor; 2]>) -> Result<Tensor> {
    if images.device().is_cuda() {
        let normalization = normalization.map(|tensors| tensors.map(Tensor::clone));
        return images
            .contiguous()?
            .apply_op1(CudaChannelsLast(normalization));
    }
    let pixels = images.permute((0, 2, 3, 1))?.contiguous()?;
    match normalization {
        Some([mean, std]) => pixels.broadcast_sub(mean)?.broadcast_div(std),
        None => Ok(pixels),
    }
}

/// The gradient `[B,C,H,W]` of the images, from that of [`channels_last`].
pub fn channels_last_backward(gradient: &Tensor, std: Option<&Tensor>) -> Result<Tensor> {
    if gradient.device().is_cuda() {
        return cuda::channels_last_backward(&gradient.to_dtype(DType::F32)?, std);
    }
    let gradient = match std {
        Some(std) => gradient.broadcast_div(std)?,
        None => gradient.clone(),
    };
    gradient.permute((0, 3, 1, 2))?.contiguous()
}

/// The same in one kernel; with mean and standard deviation.
struct CudaChannelsLast(Option<[Tensor; 2]>);

impl CustomOp1 for CudaChannelsLast {
    fn name(&self) -> &'static str {
        "channels-last"
    }

    fn cpu_fwd(&self, _x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("on the CPU the input is composed of candle's operations")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        let y = cuda::channels_last((x, layout), self.0.as_ref())?;
        Ok((y, Shape::from((images, height, width, channels))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let std = self.0.as_ref().map(|[_, std]| std);
        channels_last_backward(gradient, std).map(Some)
    }
}
