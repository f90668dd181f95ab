//! Convolution and its transpose, differentiable: NCHW tensors come in and go out. On the CPU
//! our own kernels compute all three directions, and only those that somebody asks for; on CUDA
//! it is candle's own operation.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    cpu::convolve::{self, Geometry},
    host::floats,
};

/// `x` `[B,I,H,W]` convolved with `weight` `[O,I,k,k]`, zero padding, no bias.
pub fn conv2d(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.conv2d(weight, padding, stride, 1, 1);
    }
    let geometry = geometry(x, weight, stride, padding)?;
    Direction::Forward.of(geometry).apply(x, weight)
}

/// The sizes of [`conv2d`], which must fit each other.
pub(super) fn geometry(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Geometry> {
    let (images, c_in, height, width) = x.dims4()?;
    let (c_out, c_in_weight, kernel, kernel_width) = weight.dims4()?;
    if c_in != c_in_weight || kernel != kernel_width || padding >= kernel {
        bail!(
            "conv2d of {:?} and {:?}, padding {padding}",
            x.shape(),
            weight.shape()
        )
    }
    if height + 2 * padding < kernel || width + 2 * padding < kernel {
        bail!("a kernel of {kernel} does not fit into {:?}", x.shape())
    }
    Ok(Geometry {
        images,
        c_in,
        height,
        width,
        c_out,
        kernel,
        stride,
        padding,
    })
}

/// The transpose of [`conv2d`] without padding: `x` `[B,I,H,W]`, `weight` `[I,O,k,k]` gives
/// `[B,O,(H-1)*stride+k,(W-1)*stride+k]`.
pub fn conv_transpose2d(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x.conv_transpose2d(weight, 0, 0, stride, 1);
    }
    let (images, c_in, height, width) = x.dims4()?;
    let (c_in_weight, c_out, kernel, kernel_width) = weight.dims4()?;
    if c_in != c_in_weight || kernel != kernel_width {
        bail!(
            "conv_transpose2d of {:?} and {:?}",
            x.shape(),
            weight.shape()
        )
    }
    // The convolution whose input gradient this is: its channels are the other way round.
    let geometry = Geometry {
        images,
        c_in: c_out,
        height: (height - 1) * stride + kernel,
        width: (width - 1) * stride + kernel,
        c_out: c_in,
        kernel,
        stride,
        padding: 0,
    };
    Direction::InputGradient.of(geometry).apply(x, weight)
}

/// The three maps between input, weight and output. Each is linear in both of its arguments, and
/// the gradients of each are the other two.
#[derive(Clone, Copy, Debug)]
enum Direction {
    /// (input, weight) -> output
    Forward,
    /// (output gradient, weight) -> input gradient
    InputGradient,
    /// (input, output gradient) -> weight gradient
    WeightGradient,
}

impl Direction {
    fn of(self, geometry: Geometry) -> Convolution {
        Convolution {
            direction: self,
            geometry,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Convolution {
    direction: Direction,
    geometry: Geometry,
}

impl Convolution {
    fn apply(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.contiguous()?.apply_op2(&b.contiguous()?, self)
    }

    /// The gradient in `direction`, unless nobody asks for the argument's.
    fn gradient(
        &self,
        argument: &Tensor,
        direction: Direction,
        a: &Tensor,
        b: &Tensor,
    ) -> Result<Option<Tensor>> {
        argument
            .track_op()
            .then(|| direction.of(self.geometry).apply(a, b))
            .transpose()
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let g = &self.geometry;
        let (a, b) = (floats(a, a_layout)?, floats(b, b_layout)?);
        let (values, shape) = match self.direction {
            Direction::Forward => (
                convolve::forward(g, a, b),
                (g.images, g.c_out, g.out_height(), g.out_width()),
            ),
            Direction::InputGradient => (
                convolve::input_gradient(g, a, b),
                (g.images, g.c_in, g.height, g.width),
            ),
            Direction::WeightGradient => (
                convolve::weight_gradient(g, a, b),
                (g.c_out, g.c_in, g.kernel, g.kernel),
            ),
        };
        Ok((CpuStorage::F32(values), shape.into()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        use Direction::{Forward, InputGradient, WeightGradient};
        Ok(match self.direction {
            Forward => (
                self.gradient(a, InputGradient, gradient, b)?,
                self.gradient(b, WeightGradient, a, gradient)?,
            ),
            InputGradient => (
                self.gradient(a, Forward, gradient, b)?,
                self.gradient(b, WeightGradient, gradient, a)?,
            ),
            WeightGradient => (
                self.gradient(a, InputGradient, b, gradient)?,
                self.gradient(b, Forward, a, gradient)?,
            ),
        })
    }
}
