//! Convolution and its transpose, differentiable: NHWC tensors come in and go out, weights are
//! PyTorch's. On the CPU our own kernels compute all three directions, and only those that
//! somebody asks for; on CUDA it is candle's own operation.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    cpu::{
        convolve::{self, Backward, Forward},
        epilogue::Epilogue,
        geometry::{Geometry, Pictures},
    },
    host::{floats, with_floats},
};

/// `x` `[B,H,W,I]` convolved with `weight` `[O,I,k,k]`, zero padding, plus `bias` `[O]`:
/// `[B,H',W',O]`.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    (stride, padding): (usize, usize),
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return stock_conv2d(x, weight, stride, padding)?.broadcast_add(bias);
    }
    let geometry = geometry(x, weight, (stride, padding))?;
    x.contiguous()?
        .apply_op3(&weight.contiguous()?, bias, Convolution(geometry))
}

/// The same, without bias, from candle's operations, for CUDA and as a reference for tests.
pub(super) fn stock_conv2d(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    x.conv2d(weight, padding, stride, 1, 1)?
        .permute((0, 2, 3, 1))?
        .contiguous()
}

/// The sizes of [`conv2d`], which must fit each other.
pub(super) fn geometry(
    x: &Tensor,
    weight: &Tensor,
    (stride, padding): (usize, usize),
) -> Result<Geometry> {
    let (images, height, width, channels) = x.dims4()?;
    let (c_out, c_in, kernel, kernel_width) = weight.dims4()?;
    if channels != c_in || kernel != kernel_width || padding >= kernel || stride == 0 {
        bail!(
            "conv2d of {:?} and {:?}, stride {stride}, padding {padding}",
            x.shape(),
            weight.shape()
        )
    }
    if height + 2 * padding < kernel || width + 2 * padding < kernel {
        bail!("a kernel of {kernel} does not fit into {:?}", x.shape())
    }
    let input = Pictures {
        images,
        height,
        width,
        channels,
    };
    Ok(Geometry {
        input,
        c_out,
        kernel,
        stride,
        padding,
    })
}

/// The transpose of [`conv2d`] without padding: `x` `[B,H,W,I]`, `weight` `[I,O,k,k]`, `bias`
/// `[O]` give `[B,(H-1)*stride+k,(W-1)*stride+k,O]`.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    stride: usize,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return stock_conv_transpose2d(x, weight, stride)?.broadcast_add(bias);
    }
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
    let geometry = Geometry {
        input: Pictures {
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
    x.contiguous()?
        .apply_op3(&weight.contiguous()?, bias, Transposed(geometry))
}

/// The same, without bias, from candle's operations, for CUDA and as a reference for tests.
pub(super) fn stock_conv_transpose2d(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    x.conv_transpose2d(weight, 0, 0, stride, 1)?
        .permute((0, 2, 3, 1))?
        .contiguous()
}

fn shape(pictures: Pictures) -> Shape {
    let Pictures {
        images,
        height,
        width,
        channels,
    } = pictures;
    (images, height, width, channels).into()
}

/// A new tensor like another, of these values.
pub(super) fn like(tensor: &Tensor, values: Vec<f32>) -> Result<Tensor> {
    Tensor::from_vec(values, tensor.shape(), tensor.device())
}

/// Sums over the positions of `[positions, channels]`, in `of_bias`'s shape, if it is learned.
fn bias_gradient(bias: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
    bias.track_op()
        .then(|| {
            let sums = with_floats([gradient], |[g]| Ok(convolve::bias_gradient(bias.elem_count(), g)))?;
            like(bias, sums)
        })
        .transpose()
}

struct Convolution(Geometry);

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
        let weight = Forward::new(&self.0, floats(weight, weight_layout)?);
        let epilogue = Epilogue {
            shift: Some(floats(bias, bias_layout)?),
            ..Epilogue::default()
        };
        let y = weight.apply(&self.0, floats(x, x_layout)?, epilogue);
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
                Ok(Backward::new(geometry, weight).apply(geometry, gradient, None))
            })?;
            like(x, values)
        };
        let of_weight = || {
            let values = with_floats([x, gradient], |[x, gradient]| {
                Ok(convolve::weight_gradient(geometry, x, gradient))
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
struct Transposed(Geometry);

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
        let weight = Backward::new(&self.0, floats(weight, weight_layout)?);
        let bias = Some(floats(bias, bias_layout)?);
        let y = weight.apply(&self.0, floats(x, x_layout)?, bias);
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
                Ok(Forward::new(geometry, weight).apply(geometry, gradient, nothing))
            })?;
            like(x, values)
        };
        let of_weight = || {
            let values = with_floats([x, gradient], |[x, gradient]| {
                Ok(convolve::weight_gradient(geometry, gradient, x))
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
