//! Convolution, batch normalisation by constants, residual and ReLU as one operation, for nets that
//! do not learn: NHWC features come in, activated features go out, differentiable in features and
//! residual. The normalisation is folded into weight and shift, and the weight is packed once, for
//! all the steps of an attack.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    batch_norm::EPS,
    convolution::{self, like},
    cpu::{
        convolve::{Backward, Forward},
        epilogue::Epilogue,
        geometry::Geometry,
        normalise,
    },
    host::{floats, with_floats},
};

/// What normalises each channel, all `[C]`.
#[derive(Clone, Debug)]
pub struct Normalisation {
    /// Factor.
    pub gamma: Tensor,
    /// Shift.
    pub beta: Tensor,
    /// Taken away first.
    pub mean: Tensor,
    /// Divided by, as `sqrt(variance + EPS)`.
    pub variance: Tensor,
}

/// A convolution and its normalisation as they were when this was made.
#[derive(Clone, Debug)]
pub struct FrozenConvNorm(Arc<Folded>);

#[derive(Debug)]
struct Folded {
    /// `[O,I,k,k]`, each output channel times its factor.
    weight: Tensor,
    /// What is left of the normalisation, `[O]`.
    shift: Tensor,
    /// Step and zero padding of the window.
    shape: (usize, usize),
    forward: OnceLock<Forward>,
    backward: OnceLock<Backward>,
}

impl FrozenConvNorm {
    /// Folds the normalisation into the weight `[O,I,k,k]`; `shape` is step and zero padding.
    pub fn new(weight: &Tensor, norm: &Normalisation, shape: (usize, usize)) -> Result<Self> {
        let scale = (&norm.gamma / (&norm.variance + EPS)?.sqrt()?)?;
        Ok(Self(Arc::new(Folded {
            weight: weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?.detach(),
            shift: (&norm.beta - (&norm.mean * scale)?)?.detach(),
            shape,
            forward: OnceLock::new(),
            backward: OnceLock::new(),
        })))
    }

    /// `[B,H,W,I]` to `[B,H',W',O]`: convolves, normalises, adds the residual and, if `relu`, cuts
    /// below zero.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>, relu: bool) -> Result<Tensor> {
        let Folded {
            weight,
            shift,
            shape,
            ..
        } = &*self.0;
        if !x.device().is_cpu() {
            let y = convolution::stock_conv2d(x, weight, shape.0, shape.1)?;
            let mut y = y.broadcast_add(shift)?;
            if let Some(residual) = residual {
                y = (y + residual)?;
            }
            return if relu { y.relu() } else { Ok(y) };
        }
        let op = Op {
            folded: self.0.clone(),
            geometry: convolution::geometry(x, weight, *shape)?,
            relu,
        };
        let x = x.contiguous()?;
        match residual {
            None => x.apply_op1(op),
            Some(residual) => x.apply_op2(&residual.contiguous()?, op),
        }
    }
}

/// A [`FrozenConvNorm`] on pictures of a size.
struct Op {
    folded: Arc<Folded>,
    geometry: Geometry,
    relu: bool,
}

impl Op {
    fn forward(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        residual: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let (geometry, x) = (&self.geometry, floats(x, layout)?);
        let Folded { weight, shift, .. } = &*self.folded;
        let output = geometry.output();
        if residual.is_some_and(|residual| residual.len() != output.len()) {
            bail!("the residual of {:?} has another shape", layout.shape())
        }
        let y = with_floats([weight, shift], |[weight, shift]| {
            let packed = self.folded.forward.get_or_init(|| Forward::new(geometry, weight));
            let epilogue = Epilogue {
                shift: Some(shift),
                residual,
                relu: self.relu,
            };
            Ok(packed.apply(geometry, x, epilogue))
        })?;
        let shape = (output.images, output.height, output.width, output.channels);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    /// Gradients of x and of the residual.
    fn backward(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
        let geometry = &self.geometry;
        let behind = if self.relu {
            let values = with_floats([y, gradient], |[y, g]| Ok(normalise::through_relu(y, g)))?;
            like(y, values)?
        } else {
            gradient.clone()
        };
        let of_x = with_floats([&self.folded.weight, &behind], |[weight, behind]| {
            let packed = self.folded.backward.get_or_init(|| Backward::new(geometry, weight));
            Ok(packed.apply(geometry, behind, None))
        })?;
        Ok((like(x, of_x)?, behind))
    }
}

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "frozen-conv-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(x, layout, None)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.backward(x, y, gradient)?.0))
    }
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "frozen-conv-norm-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let residual = floats(residual, residual_layout)?;
        self.forward(x, x_layout, Some(residual))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _residual: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_residual) = self.backward(x, y, gradient)?;
        Ok((Some(of_x), Some(of_residual)))
    }
}
