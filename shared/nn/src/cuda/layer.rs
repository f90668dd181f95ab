//! A convolution and its normalization on CUDA, as a chain walks through them.

use std::sync::{Arc, OnceLock};

use candle_core::{CudaStorage, Result, bail};

use super::{
    Kind,
    filter::{self, Packed, cut, finish, numbers},
    locked,
    map::{self, copy, first, kind, padded, room, tensor},
    norm::{self, Channels},
};
use crate::{
    arithmetic::{ComputeOptions, Precision},
    chain::Layer,
    frozen::FoldedConvBn,
    learning::{BatchStats, EPS, Learner},
};
use ::kernels::shape::{ConvShape, NhwcShape};

/// What maps are made of inside a chain.
pub fn chosen_kind() -> Kind {
    match ComputeOptions::chosen().precision {
        Precision::F32 | Precision::Tf32 => Kind::F32,
        Precision::Bf16 => Kind::Bf16,
    }
}

/// Weight and shift of a layer that does not learn, ready for use; made once.
pub type Ready = Arc<OnceLock<(Packed, CudaStorage)>>;

/// A layer that does not learn.
#[derive(Clone)]
pub struct Frozen(pub FoldedConvBn);

impl Frozen {
    fn ready(&self, geometry: &ConvShape) -> Result<&(Packed, CudaStorage)> {
        let layer = &self.0;
        if let Some(ready) = layer.on_device.get() {
            return Ok(ready);
        }
        let packed = Packed::new(geometry, &layer.filter.weight, chosen_kind())?;
        let ready = (packed, numbers(&layer.shift)?);
        Ok(layer.on_device.get_or_init(|| ready))
    }
}

/// `gradient + residual` where `gate` is positive, in place.
fn meet(
    of_x: CudaStorage,
    residual: Option<&CudaStorage>,
    gate: Option<&CudaStorage>,
) -> Result<CudaStorage> {
    if residual.is_some() || gate.is_some() {
        cut(&of_x, residual, gate, &of_x)?;
    }
    Ok(of_x)
}

fn through_relu(y: &CudaStorage, gradient: &CudaStorage) -> Result<CudaStorage> {
    let into = room(&y.device, kind(y)?, map::len(y))?;
    cut(gradient, None, Some(y), &into)?;
    Ok(into)
}

impl Layer for Frozen {
    type View = CudaStorage;
    type Map = CudaStorage;
    type Saved = ();

    fn geometry(&self, input: NhwcShape) -> Result<ConvShape> {
        self.0.filter.geometry(input)
    }

    fn forward(
        &self,
        geometry: &ConvShape,
        x: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<(CudaStorage, ())> {
        let (packed, shift) = self.ready(geometry)?;
        let y = packed.forward(geometry, x)?;
        finish(&y, Some(shift), residual, relu, padded(geometry.c_out))?;
        Ok((y, ()))
    }

    fn slopes(
        &self,
        _geometry: &ConvShape,
        _saved: &mut (),
        _x: &CudaStorage,
        _gradient: &CudaStorage,
        _learns: bool,
    ) -> Result<Option<CudaStorage>> {
        Ok(None)
    }

    fn input_gradient(
        &self,
        geometry: &ConvShape,
        slopes: &CudaStorage,
        residual: Option<&CudaStorage>,
        gate: Option<&CudaStorage>,
    ) -> Result<CudaStorage> {
        let (packed, _) = self.ready(geometry)?;
        meet(packed.backward(geometry, slopes)?, residual, gate)
    }

    fn through_relu(y: &CudaStorage, gradient: &CudaStorage) -> Result<CudaStorage> {
        through_relu(y, gradient)
    }
}

/// A layer that learns.
#[derive(Clone)]
pub struct Learning(pub Learner);

/// What [`Learning`] saves.
pub struct Saved {
    /// What the convolution gave; taken by the way back.
    convolved: Option<CudaStorage>,
    mean: CudaStorage,
    inverse: CudaStorage,
    gamma: CudaStorage,
}

impl Layer for Learning {
    type View = CudaStorage;
    type Map = CudaStorage;
    type Saved = Saved;

    fn geometry(&self, input: NhwcShape) -> Result<ConvShape> {
        self.0.parameters.filter.geometry(input)
    }

    fn forward(
        &self,
        geometry: &ConvShape,
        x: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<(CudaStorage, Saved)> {
        let parameters = &self.0.parameters;
        let packed = Packed::new(geometry, &parameters.filter.weight, kind(x)?)?;
        let convolved = packed.forward(geometry, x)?;
        let moments = norm::moments(&convolved, padded(geometry.c_out), EPS)?;
        let (gamma, beta) = (numbers(&parameters.gamma)?, numbers(&parameters.beta)?);
        let channels = Channels {
            mean: &moments.mean,
            inverse: &moments.inverse,
            gamma: &gamma,
        };
        let y = norm::forward(&convolved, channels, &beta, residual, relu)?;
        *locked(&self.0.moments) = Some(BatchStats {
            mean: first(copy(&moments.mean)?, geometry.c_out)?,
            variance: first(moments.variance, geometry.c_out)?,
            count: geometry.output().numel() / geometry.c_out,
        });
        let saved = Saved {
            convolved: Some(convolved),
            mean: moments.mean,
            inverse: moments.inverse,
            gamma,
        };
        Ok((y, saved))
    }

    fn slopes(
        &self,
        geometry: &ConvShape,
        saved: &mut Saved,
        x: &CudaStorage,
        gradient: &CudaStorage,
        learns: bool,
    ) -> Result<Option<CudaStorage>> {
        let Some(convolved) = saved.convolved.take() else {
            bail!("a layer was differentiated twice")
        };
        let channels = Channels {
            mean: &saved.mean,
            inverse: &saved.inverse,
            gamma: &saved.gamma,
        };
        let ([of_gamma, of_beta], slopes) = norm::backward(&convolved, channels, gradient)?;
        if learns {
            let parameters = &self.0.parameters;
            let of_weight = filter::weight_gradient(geometry, x, &slopes)?;
            *locked(&self.0.gradients) = Some([
                tensor(of_weight, parameters.filter.weight.shape()),
                first(of_gamma, geometry.c_out)?,
                first(of_beta, geometry.c_out)?,
            ]);
        }
        Ok(Some(slopes))
    }

    fn input_gradient(
        &self,
        geometry: &ConvShape,
        slopes: &CudaStorage,
        residual: Option<&CudaStorage>,
        gate: Option<&CudaStorage>,
    ) -> Result<CudaStorage> {
        let weight = &self.0.parameters.filter.weight;
        let packed = Packed::new(geometry, weight, kind(slopes)?)?;
        meet(packed.backward(geometry, slopes)?, residual, gate)
    }

    fn through_relu(y: &CudaStorage, gradient: &CudaStorage) -> Result<CudaStorage> {
        through_relu(y, gradient)
    }
}
