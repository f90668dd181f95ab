//! Convolution with folded batch norm, for models in evaluation mode: the normalization is part of weight
//! and shift, and the weight is packed once, for all the steps of an attack.

use std::sync::Arc;

use candle_core::{DType, Error, Result, Tensor};

use super::{
    ConvLayer, Layer, NormGradients,
    layer::{Caches, Cpu},
};
use crate::ops::{
    batch_norm::{BatchNormParams, EPS},
    conv::Conv2d,
    cpu_slices::with_f32,
};
use kernels::{
    conv::{Epilogue, ForwardWeights},
    shape::ConvShape,
};

/// A convolution and its batch norm, as they were when this was made.
#[derive(Clone, Debug)]
pub struct FoldedConvBn {
    /// Each output channel times its factor.
    pub(crate) filter: Conv2d,
    /// What is left of the normalization, `[O]`.
    pub(crate) shift: Tensor,
    pub(crate) caches: Arc<Caches>,
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
            caches: Arc::default(),
        })
    }
}

impl ConvLayer for FoldedConvBn {
    fn conv(&self) -> &Conv2d {
        &self.filter
    }

    fn caches(&self) -> Option<&Caches> {
        Some(&self.caches)
    }
}

impl Layer<Cpu> for FoldedConvBn {
    type Prepared = ();
    type Saved = ();

    fn prepare(layers: &[&Self]) -> Result<Vec<()>> {
        Ok(vec![(); layers.len()])
    }

    fn forward(
        &self,
        (): (),
        shape: &ConvShape,
        x: &[f32],
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Result<(Vec<f32>, ())> {
        with_f32([&self.filter.weight, &self.shift], |[weight, shift]| {
            let pack = || ForwardWeights::new(shape, weight);
            let packed = self.caches.cpu.forward.get_or_init(pack);
            let epilogue = Epilogue {
                bias: Some(shift),
                residual,
                relu,
                ..Epilogue::default()
            };
            Ok((packed.apply(shape, x, epilogue), ()))
        })
    }

    /// The normalization is part of the convolution.
    fn norm_backward(
        &self,
        _shape: &ConvShape,
        _saved: &mut (),
        _x: &[f32],
        _gradient: &[f32],
        _wanted: NormGradients,
    ) -> Result<Option<Vec<f32>>> {
        Ok(None)
    }
}
