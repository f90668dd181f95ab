//! Convolution, batch normalisation in evaluation mode, residual and ReLU as one operation: pixels
//! or features come in, activated features go out, differentiable in both inputs. The
//! normalisation's constants are folded into the weights, so all of it costs one convolution and
//! one pass.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::{
    batch_norm::{self, Normalisation, Statistics},
    convolution::{self, conv2d},
    cpu::{
        convolve::{self, Geometry},
        planes::{self, Channel, Planes},
    },
    host::{floats, with_floats},
};

/// [`conv2d`] then [`batch_norm::batch_norm`] with running statistics. Weights and statistics are
/// constants here: no gradient reaches them.
pub fn conv_norm_frozen(
    x: &Tensor,
    weight: &Tensor,
    (stride, padding): (usize, usize),
    norm: &Normalisation,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        let y = conv2d(x, weight, stride, padding)?;
        return batch_norm::batch_norm(&y, norm, Statistics::Running, residual, relu);
    }
    let geometry = convolution::geometry(x, weight, stride, padding)?;
    let folded = Folded::new(geometry, weight, norm, relu)?;
    let x = x.contiguous()?;
    match residual {
        None => x.apply_op1(folded),
        Some(residual) => x.apply_op2(&residual.contiguous()?, folded),
    }
}

struct Folded {
    geometry: Geometry,
    /// `[c_out, c_in, kernel, kernel]`, each output channel times its factor.
    weight: Vec<f32>,
    /// Only the shift is left of the normalisation.
    channels: Vec<Channel>,
    relu: bool,
}

impl Folded {
    fn new(geometry: Geometry, weight: &Tensor, norm: &Normalisation, relu: bool) -> Result<Self> {
        let mut weight: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        let taps = weight.len() / geometry.c_out;
        let mut channels = batch_norm::channels(norm)?;
        for (row, channel) in weight.chunks_exact_mut(taps).zip(&mut channels) {
            let scale = channel.inverse * channel.gamma;
            row.iter_mut().for_each(|value| *value *= scale);
            *channel = Channel {
                mean: 0.0,
                inverse: 1.0,
                gamma: 1.0,
                beta: channel.beta - channel.mean * scale,
            };
        }
        Ok(Self {
            geometry,
            weight,
            channels,
            relu,
        })
    }

    fn forward(&self, x: &[f32], residual: Option<&[f32]>) -> (CpuStorage, Shape) {
        let g = &self.geometry;
        let planes = Planes {
            images: g.images,
            channels: g.c_out,
            positions: g.out_height() * g.out_width(),
        };
        let y = convolve::forward(g, x, &self.weight);
        let y = planes::forward(planes, &self.channels, &y, residual, self.relu);
        let shape = (g.images, g.c_out, g.out_height(), g.out_width());
        (CpuStorage::F32(y), shape.into())
    }

    /// The gradient behind the ReLU, which is the residual's, and x's.
    fn backward(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
        let gradient = batch_norm::behind_relu(y, gradient, self.relu)?;
        let of_x = with_floats([&gradient], |[gradient]| {
            Ok(convolve::input_gradient(
                &self.geometry,
                gradient,
                &self.weight,
            ))
        })?;
        Ok((gradient, Tensor::from_vec(of_x, x.shape(), x.device())?))
    }
}

impl CustomOp1 for Folded {
    fn name(&self) -> &'static str {
        "conv-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(self.forward(floats(x, layout)?, None))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.backward(x, y, gradient)?.1))
    }
}

impl CustomOp2 for Folded {
    fn name(&self) -> &'static str {
        "conv-norm-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = floats(residual, residual_layout)?;
        Ok(self.forward(floats(x, x_layout)?, Some(residual)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _residual: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_residual, of_x) = self.backward(x, y, gradient)?;
        Ok((Some(of_x), Some(of_residual)))
    }
}
