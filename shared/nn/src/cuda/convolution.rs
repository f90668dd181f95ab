//! Single convolutions and their transposes on CUDA, with a bias.

use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    Kind,
    filter::{self, Packed, finish, numbers},
    layer::chosen_kind,
    map::{self, Lent, enter, leave, padded, tensor, with_storages},
    norm,
};
use crate::convolution::shape;
use ::kernels::shape::{ConvShape, NhwcShape};

/// Applies a convolution, or its transpose, of this geometry.
pub fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    geometry: ConvShape,
    transposed: bool,
) -> Result<Tensor> {
    let operation = Convolution {
        geometry,
        transposed,
        kind: chosen_kind(),
        weight: weight.detach(),
        bias: bias.detach(),
    };
    x.contiguous()?
        .apply_op3(&weight.contiguous()?, bias, operation)
}

/// Holds, if it is a transpose, the convolution that it is the transpose of.
struct Convolution {
    geometry: ConvShape,
    transposed: bool,
    kind: Kind,
    weight: Tensor,
    bias: Tensor,
}

impl Convolution {
    /// What comes in and what goes out.
    fn ends(&self) -> [NhwcShape; 2] {
        let (input, output) = (self.geometry.input, self.geometry.output());
        if self.transposed {
            [output, input]
        } else {
            [input, output]
        }
    }

    fn packed(&self) -> Result<Packed> {
        Packed::new(&self.geometry, &self.weight, self.kind)
    }

    fn enter<'a>(
        &self,
        (storage, layout): (&'a CudaStorage, &Layout),
        pictures: NhwcShape,
    ) -> Result<Lent<'a>> {
        enter(storage, layout, pictures.channels, self.kind)
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a convolution for CUDA, on the CPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _weight: &CudaStorage,
        _weight_layout: &Layout,
        _bias: &CudaStorage,
        _bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let [input, output] = self.ends();
        let kind_of_x = map::kind(x)?;
        let x = self.enter((x, layout), input)?;
        let packed = self.packed()?;
        let y = if self.transposed {
            packed.backward(&self.geometry, &x)
        } else {
            packed.forward(&self.geometry, &x)
        }?;
        let shift = numbers(&self.bias)?;
        finish(&y, Some(&shift), None, false, padded(output.channels))?;
        Ok((leave(y, output, kind_of_x)?, shape(output)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [input, output] = self.ends();
        with_storages([x, gradient], |[of_x, of_y]| {
            let kind_of_x = map::kind(of_x.0)?;
            let from_x = self.enter(of_x, input)?;
            let slopes = self.enter(of_y, output)?;
            let of_input = || -> Result<Tensor> {
                let packed = self.packed()?;
                let of_x = if self.transposed {
                    packed.forward(&self.geometry, &slopes)
                } else {
                    packed.backward(&self.geometry, &slopes)
                }?;
                Ok(tensor(leave(of_x, input, kind_of_x)?, shape(input)))
            };
            let of_weight = || -> Result<Tensor> {
                let (x, y) = if self.transposed {
                    (&slopes, &from_x)
                } else {
                    (&from_x, &slopes)
                };
                let gradient = filter::weight_gradient(&self.geometry, x, y)?;
                Ok(tensor(gradient, weight.shape()))
            };
            let of_bias = || {
                let sums = norm::sums(&slopes, padded(output.channels))?;
                map::first(sums, output.channels)?.reshape(bias.shape())
            };
            Ok((
                x.track_op().then(of_input).transpose()?,
                weight.track_op().then(of_weight).transpose()?,
                bias.track_op().then(of_bias).transpose()?,
            ))
        })
    }
}
