//! Convolution and its transpose, differentiable: NHWC tensors come in and go out, weights are
//! PyTorch's. On the CPU our own kernels compute all three directions, and only those that
//! somebody asks for; on CUDA cuDNN does.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

#[cfg(feature = "cuda")]
use super::cuda;
use super::{host::floats, host::like, host::with_floats, learning::Conv2d};
use kernels::{
    conv::{self, Epilogue, ForwardWeights, InputGradWeights},
    shape::{ConvShape, NhwcShape},
};

/// `x` `[B,H,W,I]` convolved with `filter`, plus `bias` `[O]`, if any: `[B,H',W',O]`.
pub fn conv2d(x: &Tensor, filter: &Conv2d, bias: Option<&Tensor>) -> Result<Tensor> {
    let bias = match bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros(filter.weight.dim(0)?, DType::F32, x.device())?,
    };
    let geometry = filter.geometry(pictures(x.shape())?)?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::convolve(x, &filter.weight, &bias, geometry, false);
    }
    let weight = filter.weight.contiguous()?;
    x.contiguous()?
        .apply_op3(&weight, &bias, Convolution(geometry))
}

/// The transpose of [`conv2d`] without padding: `x` `[B,H,W,I]`, `weight` `[I,O,k,k]`, `bias`
/// `[O]` give `[B,(H-1)*stride+k,(W-1)*stride+k,O]`.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    stride: usize,
) -> Result<Tensor> {
    let (images, height, width, channels) = x.dims4()?;
    let (c_in, c_out, kernel, kernel_width) = weight.dims4()?;
    if channels != c_in || kernel != kernel_width || stride == 0 || height * width == 0 {
        bail!(
            "conv_transpose2d of {:?} and {:?}, stride {stride}",
            x.shape(),
            weight.shape()
        )
    }
    // The convolution whose input gradient this is: its channels are the other way round.
    let geometry = ConvShape {
        input: NhwcShape {
            images,
            height: (height - 1) * stride + kernel,
            width: (width - 1) * stride + kernel,
            channels: c_out,
        },
        c_out: c_in,
        kernel,
        stride,
        padding: 0,
    };
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::convolve(x, weight, bias, geometry, true);
    }
    x.contiguous()?
        .apply_op3(&weight.contiguous()?, bias, Transposed(geometry))
}

/// `[B,H,W,C]` as sizes.
pub(super) fn pictures(shape: &Shape) -> Result<NhwcShape> {
    let (images, height, width, channels) = shape.dims4()?;
    Ok(NhwcShape {
        images,
        height,
        width,
        channels,
    })
}

/// And back.
pub(super) fn shape(pictures: NhwcShape) -> Shape {
    let NhwcShape {
        images,
        height,
        width,
        channels,
    } = pictures;
    (images, height, width, channels).into()
}

/// Sums over the positions of `[positions, channels]`, in `of_bias`'s shape, if it is learned.
fn bias_gradient(bias: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
    bias.track_op()
        .then(|| {
            let sums = with_floats([gradient], |[g]| {
                Ok(conv::bias_gradient(bias.elem_count(), g))
            })?;
            like(bias, sums)
        })
        .transpose()
}

fn only_shift<'a>(bias: &'a CpuStorage, layout: &Layout) -> Result<Epilogue<'a>> {
    Ok(Epilogue {
        bias: Some(floats(bias, layout)?),
        ..Epilogue::default()
    })
}

struct Convolution(ConvShape);

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let weight = ForwardWeights::new(&self.0, floats(weight, weight_layout)?);
        let y = weight.apply(
            &self.0,
            floats(x, x_layout)?,
            only_shift(bias, bias_layout)?,
        );
        Ok((CpuStorage::F32(y), shape(self.0.output())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let geometry = &self.0;
        let of_x = || {
            let values = with_floats([weight, gradient], |[weight, gradient]| {
                let nothing = Epilogue::default();
                Ok(InputGradWeights::new(geometry, weight).apply(geometry, gradient, nothing))
            })?;
            like(x, values)
        };
        let of_weight = || {
            let values = with_floats([x, gradient], |[x, gradient]| {
                Ok(conv::weight_gradient(geometry, x, gradient))
            })?;
            like(weight, values)
        };
        Ok((
            x.track_op().then(of_x).transpose()?,
            weight.track_op().then(of_weight).transpose()?,
            bias_gradient(bias, gradient)?,
        ))
    }
}

/// Holds the convolution that this is the transpose of.
struct Transposed(ConvShape);

impl CustomOp3 for Transposed {
    fn name(&self) -> &'static str {
        "transposed-convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let weight = InputGradWeights::new(&self.0, floats(weight, weight_layout)?);
        let y = weight.apply(
            &self.0,
            floats(x, x_layout)?,
            only_shift(bias, bias_layout)?,
        );
        Ok((CpuStorage::F32(y), shape(self.0.input)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let geometry = &self.0;
        let of_x = || {
            let values = with_floats([weight, gradient], |[weight, gradient]| {
                let nothing = Epilogue::default();
                Ok(ForwardWeights::new(geometry, weight).apply(geometry, gradient, nothing))
            })?;
            like(x, values)
        };
        let of_weight = || {
            let values = with_floats([x, gradient], |[x, gradient]| {
                Ok(conv::weight_gradient(geometry, gradient, x))
            })?;
            like(weight, values)
        };
        Ok((
            x.track_op().then(of_x).transpose()?,
            weight.track_op().then(of_weight).transpose()?,
            bias_gradient(bias, gradient)?,
        ))
    }
}
