//! The layers of a residual stack: cuDNN's convolution with the kernels of batch norm and epilogue.

use std::{ops::Deref, sync::OnceLock};

use candle_core::{CudaStorage, Layout, Result, Tensor, bail};

use super::{
    MapType,
    batch_norm::{self, ChannelMoments},
    conv::{PackedWeights, weight_gradient},
    elementwise::{gradient_epilogue, masked_gradient},
    feature_map::{
        self, first_channels, map_type, padded, tensor, with_channels, with_storages, with_views,
    },
};
use crate::{
    ComputeOptions, FoldedConvBn,
    ops::{
        batch_norm::EPS,
        conv::{Conv2d, nhwc_shape, tensor_shape},
        gradients::hand_over,
        residual::{Backend, Caches, ConvBn, Layer, NormGradients},
    },
};
use kernels::shape::{ConvShape, NhwcShape};

/// CUDA as the backend of a residual stack: feature maps have padded channels and the element type of the
/// options.
pub struct Cuda;

/// Packed weight of a layer in evaluation mode.
pub type CudaCache = OnceLock<PackedWeights>;

impl Backend for Cuda {
    type View = CudaStorage;
    type Map = CudaStorage;
    type Storage = CudaStorage;
    type Cache = CudaCache;

    fn cache(caches: &Caches) -> &CudaCache {
        &caches.cuda
    }

    fn enter<'a>(
        storage: &'a CudaStorage,
        layout: &Layout,
        options: ComputeOptions,
    ) -> Result<impl Deref<Target = CudaStorage> + 'a> {
        let channels = nhwc_shape(layout.shape())?.channels;
        feature_map::enter(storage, layout, channels, MapType::of(options))
    }

    fn leave(map: CudaStorage, shape: NhwcShape, options: ComputeOptions) -> Result<CudaStorage> {
        feature_map::leave(map, shape, MapType::of(options))
    }

    fn with_maps<T, const N: usize>(
        tensors: [&Tensor; N],
        options: ComputeOptions,
        f: impl FnOnce([&CudaStorage; N]) -> Result<T>,
    ) -> Result<T> {
        with_storages(tensors, |storages| {
            let mut maps = Vec::with_capacity(N);
            for (storage, layout) in storages {
                let channels = nhwc_shape(layout.shape())?.channels;
                let map_type = MapType::of(options);
                maps.push(feature_map::enter(storage, layout, channels, map_type)?);
            }
            with_views(&maps, f)
        })
    }

    fn tensor_like(like: &Tensor, map: CudaStorage) -> Result<Tensor> {
        let shape = nhwc_shape(like.shape())?;
        let map_type = with_storages([like], |[(storage, _)]| map_type(storage))?;
        let storage = feature_map::leave(map, shape, map_type)?;
        Ok(tensor(storage, tensor_shape(shape)))
    }

    fn conv_input_gradient(
        conv: &Conv2d,
        cache: Option<&CudaCache>,
        shape: &ConvShape,
        gradient: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu_output: Option<&CudaStorage>,
    ) -> Result<CudaStorage> {
        match cache.and_then(OnceLock::get) {
            Some(packed) => input_gradient(packed, shape, gradient, residual, relu_output),
            None => {
                let packed = PackedWeights::of(&conv.weight, conv.options)?;
                input_gradient(&packed, shape, gradient, residual, relu_output)
            }
        }
    }

    fn relu_backward(y: &CudaStorage, gradient: &CudaStorage) -> Result<CudaStorage> {
        masked_gradient(y, gradient)
    }
}

impl Layer<Cuda> for FoldedConvBn {
    type Prepared = ();
    type Saved = ();

    fn prepare(layers: &[&Self]) -> Result<Vec<()>> {
        Ok(vec![(); layers.len()])
    }

    fn forward(
        &self,
        (): (),
        shape: &ConvShape,
        x: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<(CudaStorage, ())> {
        let packed = match self.caches.cuda.get() {
            Some(packed) => packed,
            None => {
                let packed = PackedWeights::of(&self.filter.weight, self.filter.options)?;
                self.caches.cuda.get_or_init(|| packed)
            }
        };
        let y = with_channels([&self.shift], |[shift]| {
            packed.forward_with(shape, x, shift, residual, relu)
        })?;
        Ok((y, ()))
    }

    /// The normalization is part of the convolution.
    fn norm_backward(
        &self,
        _shape: &ConvShape,
        _saved: &mut (),
        _x: &CudaStorage,
        _gradient: &CudaStorage,
        _wanted: NormGradients,
    ) -> Result<Option<CudaStorage>> {
        Ok(None)
    }
}

/// The gradient of a convolution's input, plus `residual`, zero where `relu_output` is not positive.
fn input_gradient(
    packed: &PackedWeights,
    shape: &ConvShape,
    gradient: &CudaStorage,
    residual: Option<&CudaStorage>,
    relu_output: Option<&CudaStorage>,
) -> Result<CudaStorage> {
    let grad_x = packed.input_gradient(shape, gradient)?;
    if residual.is_some() || relu_output.is_some() {
        gradient_epilogue(&grad_x, residual, relu_output, &grad_x)?;
    }
    Ok(grad_x)
}

/// What a layer in training mode saves.
pub struct CudaSaved {
    packed: PackedWeights,
    /// The convolution's result; taken by the backward pass.
    convolved: Option<CudaStorage>,
    /// Of the padded channels.
    moments: ChannelMoments,
}

impl Layer<Cuda> for ConvBn {
    type Prepared = PackedWeights;
    type Saved = CudaSaved;
    const PASSES_RELU: bool = true;

    fn prepare(layers: &[&Self]) -> Result<Vec<PackedWeights>> {
        let Some(first) = layers.first() else {
            return Ok(Vec::new());
        };
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.filter.weight).collect();
        PackedWeights::all(&weights, first.filter.options)
    }

    fn forward(
        &self,
        packed: PackedWeights,
        shape: &ConvShape,
        x: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<(CudaStorage, CudaSaved)> {
        let convolved = packed.forward(shape, x)?;
        let channels = padded(shape.c_out);
        let moments = batch_norm::moments(&convolved, channels, EPS, &self.running)?;
        let y = with_channels([&self.gamma, &self.beta], |[gamma, beta]| {
            batch_norm::forward(&convolved, moments.params(gamma), beta, residual, relu)
        })?;
        let saved = CudaSaved {
            packed,
            convolved: Some(convolved),
            moments,
        };
        Ok((y, saved))
    }

    fn norm_backward(
        &self,
        shape: &ConvShape,
        saved: &mut CudaSaved,
        x: &CudaStorage,
        gradient: &CudaStorage,
        wanted: NormGradients,
    ) -> Result<Option<CudaStorage>> {
        let Some(convolved) = saved.convolved.take() else {
            bail!("a layer was differentiated twice")
        };
        let Self {
            filter,
            gamma,
            beta,
            ..
        } = self;
        let ([grad_gamma, grad_beta], grad_convolved) =
            with_channels([gamma, beta], |[gamma, beta]| {
                let norm = saved.moments.params(gamma);
                batch_norm::backward(&convolved, norm, wanted.relu.then_some(beta), gradient)
            })?;
        if wanted.parameters {
            let grad_weight = weight_gradient(shape, x, &grad_convolved, filter.options)?;
            hand_over(&filter.weight, tensor(grad_weight, filter.weight.shape()))?;
            for (parameter, gradient) in [(gamma, grad_gamma), (beta, grad_beta)] {
                hand_over(parameter, first_channels(gradient, shape.c_out)?)?;
            }
        }
        Ok(Some(grad_convolved))
    }

    fn input_gradient(
        &self,
        saved: &CudaSaved,
        shape: &ConvShape,
        gradient: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu_output: Option<&CudaStorage>,
    ) -> Result<CudaStorage> {
        input_gradient(&saved.packed, shape, gradient, residual, relu_output)
    }
}
