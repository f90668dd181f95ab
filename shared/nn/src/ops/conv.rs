//! 2-D convolution and transposed convolution of NHWC feature maps, with PyTorch's weights and a bias.
//! Both are one operation: what is the forward pass of one is the input gradient of the other.

use candle_core::{CpuStorage, CudaStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use super::cpu_slices::{as_f32, tensor_like, with_f32};
use crate::{ComputeOptions, cuda};
use kernels::{
    conv::{self, Epilogue, ForwardWeights, InputGradWeights},
    shape::{ConvShape, NhwcShape},
};

/// A 2-D convolution without bias.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[O,I,k,k]`.
    pub weight: Tensor,
    /// Pixels between two windows.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// How it is computed.
    pub options: ComputeOptions,
}

impl Conv2d {
    /// The sizes for an input of these.
    ///
    /// # Errors
    /// When weight, stride, padding and input do not fit each other.
    pub(crate) fn shape(&self, input: NhwcShape) -> Result<ConvShape> {
        let (c_out, c_in, kernel, kernel_width) = self.weight.dims4()?;
        let Self {
            stride, padding, ..
        } = *self;
        let smallest = input.height.min(input.width);
        if input.channels != c_in
            || kernel != kernel_width
            || padding >= kernel
            || stride == 0
            || smallest + 2 * padding < kernel
        {
            bail!(
                "a convolution of {input:?} with a weight {:?}, stride {stride}, padding {padding}",
                self.weight.shape()
            )
        }
        Ok(ConvShape {
            input,
            c_out,
            kernel,
            stride,
            padding,
        })
    }
}

/// `x` `[B,H,W,I]` convolved with `filter`, plus `bias` `[O]`, if any: `[B,H',W',O]`.
pub fn conv2d(x: &Tensor, filter: &Conv2d, bias: Option<&Tensor>) -> Result<Tensor> {
    let bias = match bias {
        Some(bias) => bias.clone(),
        None => Tensor::zeros(filter.weight.dim(0)?, DType::F32, x.device())?,
    };
    let geometry = ConvGeometry {
        shape: filter.shape(nhwc_shape(x.shape())?)?,
        transposed: false,
    };
    let options = filter.options;
    x.contiguous()?.apply_op3(
        &filter.weight.contiguous()?,
        &bias,
        ConvOp { geometry, options },
    )
}

/// The transpose of [`conv2d`] without padding: `x` `[B,H,W,I]`, `weight` `[I,O,k,k]`, `bias`
/// `[O]` give `[B,(H-1)*stride+k,(W-1)*stride+k,O]`.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    stride: usize,
    options: ComputeOptions,
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
    // The convolution whose input gradient this is: its channels are exchanged.
    let shape = ConvShape {
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
    let geometry = ConvGeometry {
        shape,
        transposed: true,
    };
    x.contiguous()?.apply_op3(
        &weight.contiguous()?,
        &bias.contiguous()?,
        ConvOp { geometry, options },
    )
}

/// The sizes of a tensor `[B,H,W,C]`.
pub(crate) fn nhwc_shape(shape: &Shape) -> Result<NhwcShape> {
    let (images, height, width, channels) = shape.dims4()?;
    Ok(NhwcShape {
        images,
        height,
        width,
        channels,
    })
}

/// The shape `[B,H,W,C]` of a tensor of these sizes.
pub(crate) fn tensor_shape(sizes: NhwcShape) -> Shape {
    let NhwcShape {
        images,
        height,
        width,
        channels,
    } = sizes;
    (images, height, width, channels).into()
}

/// A convolution, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub struct ConvGeometry {
    /// Sizes of the convolution, even if this is its transpose.
    pub shape: ConvShape,
    /// Whether this is the transpose.
    pub transposed: bool,
}

impl ConvGeometry {
    /// Sizes of input and output.
    pub fn ends(&self) -> [NhwcShape; 2] {
        let (input, output) = (self.shape.input, self.shape.output());
        if self.transposed {
            [output, input]
        } else {
            [input, output]
        }
    }

    /// Applies the convolution or, if not `forward`, its transpose.
    fn apply(&self, forward: bool, weight: &[f32], x: &[f32], epilogue: Epilogue) -> Vec<f32> {
        if forward {
            ForwardWeights::new(&self.shape, weight).apply(&self.shape, x, epilogue)
        } else {
            InputGradWeights::new(&self.shape, weight).apply(&self.shape, x, epilogue)
        }
    }

    fn cpu_backward(
        &self,
        [x, weight, bias]: [&Tensor; 3],
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let grad_x = || {
            let values = with_f32([weight, gradient], |[weight, gradient]| {
                Ok(self.apply(self.transposed, weight, gradient, Epilogue::default()))
            })?;
            tensor_like(x, values)
        };
        let grad_weight = || {
            let values = with_f32([x, gradient], |[x, gradient]| {
                let (input, output) = if self.transposed {
                    (gradient, x)
                } else {
                    (x, gradient)
                };
                Ok(conv::weight_gradient(&self.shape, input, output))
            })?;
            tensor_like(weight, values)
        };
        let grad_bias = || {
            let sums = with_f32([gradient], |[gradient]| {
                Ok(conv::bias_gradient(bias.elem_count(), gradient))
            })?;
            tensor_like(bias, sums)
        };
        Ok([
            x.track_op().then(grad_x).transpose()?,
            weight.track_op().then(grad_weight).transpose()?,
            bias.track_op().then(grad_bias).transpose()?,
        ])
    }
}

/// A convolution as an operation on input, weight and bias.
struct ConvOp {
    geometry: ConvGeometry,
    options: ComputeOptions,
}

impl CustomOp3 for ConvOp {
    fn name(&self) -> &'static str {
        if self.geometry.transposed {
            "conv-transpose2d"
        } else {
            "conv2d"
        }
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
        let [_, output] = self.geometry.ends();
        let epilogue = Epilogue {
            bias: Some(as_f32(bias, bias_layout)?),
            ..Epilogue::default()
        };
        let (weight, x) = (as_f32(weight, weight_layout)?, as_f32(x, x_layout)?);
        let y = self
            .geometry
            .apply(!self.geometry.transposed, weight, x, epilogue);
        Ok((CpuStorage::F32(y), tensor_shape(output)))
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let [_, output] = self.geometry.ends();
        let arguments = [(x, x_layout), (weight, weight_layout), (bias, bias_layout)];
        let y = cuda::conv(&self.geometry, self.options, arguments)?;
        Ok((y, tensor_shape(output)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let arguments = [x, weight, bias];
        let [grad_x, grad_weight, grad_bias] = if x.device().is_cpu() {
            self.geometry.cpu_backward(arguments, gradient)?
        } else {
            cuda::conv_backward(&self.geometry, self.options, arguments, gradient)?
        };
        Ok((grad_x, grad_weight, grad_bias))
    }
}
