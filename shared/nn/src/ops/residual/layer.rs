//! The layers of a residual stack and the devices that compute them, as traits.

use std::{borrow::Borrow, ops::Deref, sync::OnceLock};

use candle_core::{CpuStorage, Layout, Result, Tensor};

use super::super::{
    conv::Conv2d,
    cpu_slices::{as_f32, tensor_like, with_f32},
};
use crate::{ComputeOptions, cuda::Cuda};
use kernels::{
    conv::{Epilogue, ForwardWeights, InputGradWeights},
    relu,
    shape::{ConvShape, NhwcShape},
};

/// How a device stores feature maps `[B,H,W,C]` while it computes a residual stack.
pub trait Backend: Sized + 'static {
    /// A feature map, or its gradient, to be read.
    type View: ?Sized;
    /// An owned one.
    type Map: Borrow<Self::View> + Send;
    /// What candle stores.
    type Storage;
    /// Packed weights of a layer whose weights are constants.
    type Cache: Default + Send + Sync;

    /// This device's part of a layer's caches.
    fn cache(caches: &Caches) -> &Self::Cache;

    /// A contiguous argument of an operation as a feature map.
    fn enter<'a>(
        storage: &'a Self::Storage,
        layout: &Layout,
        options: ComputeOptions,
    ) -> Result<impl Deref<Target = Self::View> + 'a>;

    /// A feature map as the result of an operation.
    fn leave(map: Self::Map, shape: NhwcShape, options: ComputeOptions) -> Result<Self::Storage>;

    /// Calls `f` with tensors as feature maps.
    fn with_maps<T, const N: usize>(
        tensors: [&Tensor; N],
        options: ComputeOptions,
        f: impl FnOnce([&Self::View; N]) -> Result<T>,
    ) -> Result<T>;

    /// A feature map as a tensor of the shape and element type of another.
    fn tensor_like(tensor: &Tensor, map: Self::Map) -> Result<Tensor>;

    /// The gradient of a convolution's input, plus `residual`, zero where `relu_output` is not positive.
    fn conv_input_gradient(
        conv: &Conv2d,
        cache: Option<&Self::Cache>,
        shape: &ConvShape,
        gradient: &Self::View,
        residual: Option<&Self::View>,
        relu_output: Option<&Self::View>,
    ) -> Result<Self::Map>;

    /// The gradient of a ReLU's input, from its result `y`.
    fn relu_backward(y: &Self::View, gradient: &Self::View) -> Result<Self::Map>;
}

/// A layer that convolves first.
pub trait ConvLayer: Clone + Send + Sync + 'static {
    /// Its convolution.
    fn conv(&self) -> &Conv2d;

    /// Packed weights that outlive a pass.
    fn caches(&self) -> Option<&Caches> {
        None
    }
}

/// What [`Layer::norm_backward`] computes.
#[derive(Clone, Copy, Debug)]
pub struct NormGradients {
    /// Whether the gradients of the parameters are wanted, too.
    pub parameters: bool,
    /// Whether the gradient passes the layer's ReLU; only where [`Layer::PASSES_RELU`].
    pub relu: bool,
}

/// A convolution and its batch norm on a device.
pub trait Layer<B: Backend>: ConvLayer {
    /// What is made for each layer before any is computed.
    type Prepared;
    /// What the backward pass needs of the forward pass.
    type Saved: Send;
    /// Whether [`Self::norm_backward`] passes a gradient through the layer's own ReLU, if it has one without a
    /// residual before it. Elsewhere the gradient that it gets has passed it.
    const PASSES_RELU: bool = false;

    /// For each of the layers, in their order.
    fn prepare(layers: &[&Self]) -> Result<Vec<Self::Prepared>>;

    /// `relu(batch_norm(conv(x)) + residual)`; residual and ReLU are optional.
    fn forward(
        &self,
        prepared: Self::Prepared,
        shape: &ConvShape,
        x: &B::View,
        residual: Option<&B::View>,
        relu: bool,
    ) -> Result<(B::Map, Self::Saved)>;

    /// The gradient of the convolution's result from that of the batch norm's or, with `relu`, of the ReLU's after
    /// it; `None` if it is the same. Keeps the gradients of the parameters, if they are wanted.
    fn norm_backward(
        &self,
        shape: &ConvShape,
        saved: &mut Self::Saved,
        x: &B::View,
        gradient: &B::View,
        wanted: NormGradients,
    ) -> Result<Option<B::Map>>;

    /// The sizes of the convolution of such an input.
    fn shape(&self, input: NhwcShape) -> Result<ConvShape> {
        self.conv().shape(input)
    }

    /// The gradient of the input from that of the convolution's result, plus `residual`, zero where
    /// `relu_output` is not positive.
    fn input_gradient(
        &self,
        _saved: &Self::Saved,
        shape: &ConvShape,
        gradient: &B::View,
        residual: Option<&B::View>,
        relu_output: Option<&B::View>,
    ) -> Result<B::Map> {
        B::conv_input_gradient(
            self.conv(),
            self.caches().map(B::cache),
            shape,
            gradient,
            residual,
            relu_output,
        )
    }
}

/// Packed weights of a layer whose weights are constants, on every device.
#[derive(Debug, Default)]
pub struct Caches {
    /// On the CPU.
    pub cpu: CpuCache,
    /// On CUDA.
    pub cuda: <Cuda as Backend>::Cache,
}

/// The CPU: feature maps are slices.
pub struct Cpu;

/// Packed weights on the CPU.
#[derive(Debug, Default)]
pub struct CpuCache {
    /// For the forward pass.
    pub forward: OnceLock<ForwardWeights>,
    /// For the input gradient.
    pub input_grad: OnceLock<InputGradWeights>,
}

impl Backend for Cpu {
    type View = [f32];
    type Map = Vec<f32>;
    type Storage = CpuStorage;
    type Cache = CpuCache;

    fn cache(caches: &Caches) -> &CpuCache {
        &caches.cpu
    }

    fn enter<'a>(
        storage: &'a CpuStorage,
        layout: &Layout,
        _options: ComputeOptions,
    ) -> Result<impl Deref<Target = [f32]> + 'a> {
        as_f32(storage, layout)
    }

    fn leave(map: Vec<f32>, _shape: NhwcShape, _options: ComputeOptions) -> Result<CpuStorage> {
        Ok(CpuStorage::F32(map))
    }

    fn with_maps<T, const N: usize>(
        tensors: [&Tensor; N],
        _options: ComputeOptions,
        f: impl FnOnce([&[f32]; N]) -> Result<T>,
    ) -> Result<T> {
        with_f32(tensors, f)
    }

    fn tensor_like(tensor: &Tensor, map: Vec<f32>) -> Result<Tensor> {
        tensor_like(tensor, map)
    }

    fn conv_input_gradient(
        conv: &Conv2d,
        cache: Option<&CpuCache>,
        shape: &ConvShape,
        gradient: &[f32],
        residual: Option<&[f32]>,
        relu_output: Option<&[f32]>,
    ) -> Result<Vec<f32>> {
        let epilogue = Epilogue {
            residual,
            relu_output,
            ..Epilogue::default()
        };
        with_f32([&conv.weight], |[weight]| {
            let pack = || InputGradWeights::new(shape, weight);
            Ok(match cache {
                Some(cache) => {
                    let packed = cache.input_grad.get_or_init(pack);
                    packed.apply(shape, gradient, epilogue)
                }
                None => pack().apply(shape, gradient, epilogue),
            })
        })
    }

    fn relu_backward(y: &[f32], gradient: &[f32]) -> Result<Vec<f32>> {
        Ok(relu::backward(y, gradient))
    }
}
