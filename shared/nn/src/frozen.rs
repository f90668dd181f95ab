//! A convolution with batch normalization by constants, for models that do not learn: the
//! normalization is folded into weight and shift, and the weight is packed once, for all the steps
//! of an attack.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Error, Result, Tensor};

use super::{chain::Layer, host::with_floats, learning::Conv2d, learning::EPS};
use kernels::{
    conv::{Epilogue, ForwardWeights, InputGradWeights},
    relu,
    shape::{ConvShape, NhwcShape},
};

/// What normalizes each channel, all `[C]`.
#[derive(Clone, Debug)]
pub struct BatchNormParams {
    /// Factor.
    pub gamma: Tensor,
    /// Shift.
    pub beta: Tensor,
    /// Taken away first.
    pub mean: Tensor,
    /// Divided by, as `sqrt(variance + 1e-5)`.
    pub variance: Tensor,
}

/// A convolution and its normalization as they were when this was made.
#[derive(Clone, Debug)]
pub struct FoldedConvBn {
    /// Each output channel times its factor.
    pub(super) filter: Conv2d,
    /// What is left of the normalization, `[O]`.
    pub(super) shift: Tensor,
    packed: Arc<(OnceLock<ForwardWeights>, OnceLock<InputGradWeights>)>,
    #[cfg(feature = "cuda")]
    pub(super) on_device: super::cuda::Ready,
}

impl FoldedConvBn {
    /// Folds the normalization into the filter's weight, in f64, so that this rounds but once.
    pub fn new(filter: &Conv2d, norm: &BatchNormParams) -> Result<Self> {
        let double = |tensor: &Tensor| tensor.to_dtype(DType::F64);
        let scale = (double(&norm.gamma)? / (double(&norm.variance)? + EPS)?.sqrt()?)?;
        let shift = (double(&norm.beta)? - (double(&norm.mean)? * &scale)?)?;
        let weight = double(&filter.weight)?.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
        let single = |tensor: Tensor| Ok::<_, Error>(tensor.to_dtype(DType::F32)?.detach());
        Ok(Self {
            filter: Conv2d {
                weight: single(weight)?,
                ..*filter
            },
            shift: single(shift)?,
            packed: Arc::default(),
            #[cfg(feature = "cuda")]
            on_device: Arc::default(),
        })
    }
}

impl Layer for FoldedConvBn {
    type View = [f32];
    type Map = Vec<f32>;
    type Saved = ();

    fn geometry(&self, input: NhwcShape) -> Result<ConvShape> {
        self.filter.geometry(input)
    }

    fn forward(
        &self,
        geometry: &ConvShape,
        x: &[f32],
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Result<(Vec<f32>, ())> {
        with_floats([&self.filter.weight, &self.shift], |[weight, shift]| {
            let packed = self
                .packed
                .0
                .get_or_init(|| ForwardWeights::new(geometry, weight));
            let epilogue = Epilogue {
                bias: Some(shift),
                residual,
                relu,
                ..Epilogue::default()
            };
            Ok((packed.apply(geometry, x, epilogue), ()))
        })
    }

    /// The normalization is part of the convolution.
    fn slopes(
        &self,
        _geometry: &ConvShape,
        _saved: &mut (),
        _x: &[f32],
        _gradient: &[f32],
        _learns: bool,
    ) -> Result<Option<Vec<f32>>> {
        Ok(None)
    }

    fn input_gradient(
        &self,
        geometry: &ConvShape,
        slopes: &[f32],
        residual: Option<&[f32]>,
        gate: Option<&[f32]>,
    ) -> Result<Vec<f32>> {
        let epilogue = Epilogue {
            residual,
            relu_output: gate,
            ..Epilogue::default()
        };
        with_floats([&self.filter.weight], |[weight]| {
            let packed = self
                .packed
                .1
                .get_or_init(|| InputGradWeights::new(geometry, weight));
            Ok(packed.apply(geometry, slopes, epilogue))
        })
    }
    fn through_relu(y: &[f32], gradient: &[f32]) -> Result<Vec<f32>> {
        Ok(relu::backward(y, gradient))
    }
}
