//! The layers of a residual stack: cuDNN's convolution with the kernels of batch norm and epilogue.

use std::{ops::Deref, sync::OnceLock};

use candle_core::{CudaStorage, Layout, Result, Tensor, bail};

use super::{
    MapType,
    batch_norm::{self, ChannelParams},
    conv::{PackedWeights, channel_values, weight_gradient},
    elementwise::{epilogue, gradient_epilogue, masked_gradient},
    feature_map::{self, copy, first_channels, map_type, padded, tensor, with_storages},
};
use crate::{
    ComputeOptions, FoldedConvBn,
    ops::{
        batch_norm::{BatchStats, EPS},
        conv::{Conv2d, nhwc_shape, tensor_shape},
        locked,
        residual::{Backend, Caches, ConvBnTrain, Layer},
    },
};
use kernels::shape::{ConvShape, NhwcShape};

/// CUDA as the backend of a residual stack: feature maps have padded channels and the element type of the
/// options.
pub struct Cuda;

/// Packed weight and shift of a layer in evaluation mode.
#[derive(Debug, Default)]
pub struct CudaCache(OnceLock<(PackedWeights, CudaStorage)>);

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
            let views: Vec<&CudaStorage> = maps.iter().map(|map| &**map).collect();
            match views.try_into() {
                Ok(views) => f(views),
                Err(_) => bail!("one feature map for each tensor"),
            }
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
        let grad_x = match cache.and_then(|cache| cache.0.get()) {
            Some((packed, _)) => packed.input_gradient(shape, gradient),
            None => PackedWeights::of(shape, &conv.weight, conv.options)?
                .input_gradient(shape, gradient),
        }?;
        if residual.is_some() || relu_output.is_some() {
            gradient_epilogue(&grad_x, residual, relu_output, &grad_x)?;
        }
        Ok(grad_x)
    }

    fn relu_backward(y: &CudaStorage, gradient: &CudaStorage) -> Result<CudaStorage> {
        masked_gradient(y, gradient)
    }
}

impl Layer<Cuda> for FoldedConvBn {
    type Saved = ();

    fn forward(
        &self,
        shape: &ConvShape,
        x: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<(CudaStorage, ())> {
        let (packed, shift) = match self.caches.cuda.0.get() {
            Some(cached) => cached,
            None => {
                let packed = PackedWeights::of(shape, &self.filter.weight, self.filter.options)?;
                let new = (packed, channel_values(&self.shift)?);
                self.caches.cuda.0.get_or_init(|| new)
            }
        };
        let y = packed.forward(shape, x)?;
        epilogue(&y, Some(shift), residual, relu, padded(shape.c_out))?;
        Ok((y, ()))
    }

    /// The normalization is part of the convolution.
    fn norm_backward(
        &self,
        _shape: &ConvShape,
        _saved: &mut (),
        _x: &CudaStorage,
        _gradient: &CudaStorage,
        _with_parameters: bool,
    ) -> Result<Option<CudaStorage>> {
        Ok(None)
    }
}

/// What a layer in training mode saves.
pub struct CudaSaved {
    /// The convolution's result; taken by the backward pass.
    convolved: Option<CudaStorage>,
    mean: CudaStorage,
    inverse: CudaStorage,
    gamma: CudaStorage,
}

impl Layer<Cuda> for ConvBnTrain {
    type Saved = CudaSaved;

    fn forward(
        &self,
        shape: &ConvShape,
        x: &CudaStorage,
        residual: Option<&CudaStorage>,
        relu: bool,
    ) -> Result<(CudaStorage, CudaSaved)> {
        let parameters = &self.parameters;
        let filter = &parameters.filter;
        let packed = PackedWeights::of(shape, &filter.weight, filter.options)?;
        let convolved = packed.forward(shape, x)?;
        let moments = batch_norm::moments(&convolved, padded(shape.c_out), EPS)?;
        let gamma = channel_values(&parameters.gamma)?;
        let beta = channel_values(&parameters.beta)?;
        let channels = ChannelParams {
            mean: &moments.mean,
            inverse: &moments.inverse,
            gamma: &gamma,
        };
        let y = batch_norm::forward(&convolved, channels, &beta, residual, relu)?;
        *locked(&self.stats) = Some(BatchStats {
            mean: first_channels(copy(&moments.mean)?, shape.c_out)?,
            variance: first_channels(moments.variance, shape.c_out)?,
            count: shape.output().numel() / shape.c_out,
        });
        let saved = CudaSaved {
            convolved: Some(convolved),
            mean: moments.mean,
            inverse: moments.inverse,
            gamma,
        };
        Ok((y, saved))
    }

    fn norm_backward(
        &self,
        shape: &ConvShape,
        saved: &mut CudaSaved,
        x: &CudaStorage,
        gradient: &CudaStorage,
        with_parameters: bool,
    ) -> Result<Option<CudaStorage>> {
        let Some(convolved) = saved.convolved.take() else {
            bail!("a layer was differentiated twice")
        };
        let channels = ChannelParams {
            mean: &saved.mean,
            inverse: &saved.inverse,
            gamma: &saved.gamma,
        };
        let ([grad_gamma, grad_beta], grad_convolved) =
            batch_norm::backward(&convolved, channels, gradient)?;
        if with_parameters {
            let filter = &self.parameters.filter;
            let grad_weight = weight_gradient(shape, x, &grad_convolved, filter.options)?;
            *locked(&self.gradients) = Some([
                tensor(grad_weight, filter.weight.shape()),
                first_channels(grad_gamma, shape.c_out)?,
                first_channels(grad_beta, shape.c_out)?,
            ]);
        }
        Ok(Some(grad_convolved))
    }
}
