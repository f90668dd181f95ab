//! CUDA in a program that was built without it: every function is an error.

use std::ops::Deref;

use candle_core::{CudaDevice, CudaStorage, Layout, Result, Tensor, bail};
use kernels::shape::{ConvShape, NhwcShape};

use super::Argument;
use crate::{
    ComputeOptions, CropWindow, DropoutMask, RunningStatistics, SgdConfig, SgdParam,
    ops::{
        conv::{Conv2d, ConvGeometry},
        residual::{Backend, Caches, ConvLayer, Layer, NormGradients},
        transformer::Attended,
    },
    step_graph::{StepBatch, StepInputs, StepResults},
};

/// Whether this program was built with CUDA.
pub const ENABLED: bool = false;

fn disabled<T>() -> Result<T> {
    bail!("this program was built without CUDA (build it with `--features cuda`)")
}

macro_rules! disabled {
    ($(fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        pub fn $name($(_: $argument),*) -> Result<$result> {
            disabled()
        }
    )*};
}

/// As in [`super`], of Transformers.
pub mod row_ops {
    use super::*;

    disabled! {
        fn layer_norm(&Tensor, &Tensor, &Tensor, f64, ComputeOptions) -> Tensor;
        fn layer_norm_f32(&Tensor, &Tensor, &Tensor, f64) -> CudaStorage;
        fn layer_norm_backward(&Tensor, &Tensor, f64, &Tensor) -> (Tensor, Tensor);
        fn softmax(&Tensor, f64) -> ();
        fn softmax_backward(&Tensor, &Tensor, f64) -> ();
        fn add_bias(&Tensor, &Tensor) -> CudaStorage;
        fn gelu_dropout(&Tensor, &Tensor, Option<DropoutMask>) -> Tensor;
        fn gelu_dropout_backward(&Tensor, &Tensor, Option<DropoutMask>, &Tensor) -> ();
        fn residual_dropout(&Tensor, &Tensor, &Tensor, Option<DropoutMask>) -> CudaStorage;
        fn embed(Argument, Argument, Argument, Option<DropoutMask>) -> CudaStorage;
        fn split_heads(&Tensor, Option<&Tensor>, [usize; 2]) -> Tensor;
        fn merge_heads(&Tensor) -> Tensor;
        fn column_sums(&Tensor, Option<&Tensor>) -> (Tensor, Option<Tensor>);
    }
}

disabled! {
    fn prepare(&CudaDevice) -> ();
    fn free_memory(&CudaDevice) -> u64;
    fn peak_memory(&CudaDevice) -> u64;
    fn release_memory(&CudaDevice) -> ();
    fn attention(&Tensor, &Tensor, f64, ComputeOptions) -> Option<Attended>;
    fn attention_backward(&Tensor, &Tensor, &Attended, &Tensor, f64, ComputeOptions) -> Option<[Tensor; 2]>;
    fn average(&[(Tensor, Tensor)], f64) -> ();
    fn average_pool(Argument) -> CudaStorage;
    fn average_pool_backward(&Tensor, &Tensor) -> Tensor;
    fn batch_norm_train(Argument, [Argument; 2], f64, &RunningStatistics) -> (CudaStorage, [Tensor; 2]);
    fn batch_norm_backward(&Tensor, [&Tensor; 3], &Tensor) -> (Tensor, [Tensor; 2]);
    fn batch_norm_eval(Argument, [&Tensor; 4]) -> CudaStorage;
    fn channels_last(Argument, Option<&[Tensor; 2]>) -> CudaStorage;
    fn channels_last_backward(&Tensor, Option<&Tensor>) -> Tensor;
    fn cross_entropy(Argument, &Tensor, f64) -> CudaStorage;
    fn cross_entropy_backward(&Tensor, &Tensor, f64, &Tensor) -> Tensor;
    fn conv(&ConvGeometry, ComputeOptions, [Argument; 3]) -> CudaStorage;
    fn conv_backward(&ConvGeometry, ComputeOptions, [&Tensor; 3], &Tensor) -> [Option<Tensor>; 3];
    fn crop_resize(&Tensor, &[u32], &[CropWindow]) -> Tensor;
    fn dropout(Argument, DropoutMask) -> CudaStorage;
    fn relu(Argument) -> CudaStorage;
    fn relu_backward(&Tensor, &Tensor) -> Tensor;
    fn sgd_step(&SgdConfig, &Tensor, &Tensor, &[SgdParam]) -> ();
}

/// In place of the types that only a program with CUDA has.
#[derive(Debug)]
pub struct Unavailable;

pub use Unavailable as Cuda;
pub use Unavailable as Download;
pub use Unavailable as Downloader;
pub use Unavailable as PinnedUploader;
pub use Unavailable as StepRecorder;

impl Unavailable {
    pub fn new(_: &CudaDevice) -> Result<Self> {
        disabled()
    }

    pub fn start(&self, _: &[Tensor]) -> Result<Self> {
        disabled()
    }

    pub fn finish(self) -> Result<Vec<Tensor>> {
        disabled()
    }

    pub fn upload(&mut self, _: &[u8], _: &[u32]) -> Result<Tensor> {
        disabled()
    }

    pub fn run(
        &mut self,
        _: &StepBatch,
        _: &mut dyn FnMut(&StepInputs) -> base::Result<StepResults>,
    ) -> base::Result<StepResults> {
        Ok(disabled()?)
    }

    pub fn forget(&mut self) {}
}

impl Backend for Unavailable {
    type View = CudaStorage;
    type Map = CudaStorage;
    type Storage = CudaStorage;
    type Cache = ();

    fn cache(caches: &Caches) -> &() {
        &caches.cuda
    }

    fn enter<'a>(
        _: &'a CudaStorage,
        _: &Layout,
        _: ComputeOptions,
    ) -> Result<impl Deref<Target = CudaStorage> + 'a> {
        disabled::<&CudaStorage>()
    }

    fn leave(_: CudaStorage, _: NhwcShape, _: ComputeOptions) -> Result<CudaStorage> {
        disabled()
    }

    fn with_maps<T, const N: usize>(
        _: [&Tensor; N],
        _: ComputeOptions,
        _: impl FnOnce([&CudaStorage; N]) -> Result<T>,
    ) -> Result<T> {
        disabled()
    }

    fn tensor_like(_: &Tensor, _: CudaStorage) -> Result<Tensor> {
        disabled()
    }

    fn conv_input_gradient(
        _: &Conv2d,
        _: Option<&()>,
        _: &ConvShape,
        _: &CudaStorage,
        _: Option<&CudaStorage>,
        _: Option<&CudaStorage>,
    ) -> Result<CudaStorage> {
        disabled()
    }

    fn relu_backward(_: &CudaStorage, _: &CudaStorage) -> Result<CudaStorage> {
        disabled()
    }
}

impl<L: ConvLayer> Layer<Unavailable> for L {
    type Prepared = ();
    type Saved = ();

    fn prepare(_: &[&Self]) -> Result<Vec<()>> {
        disabled()
    }

    fn forward(
        &self,
        (): (),
        _: &ConvShape,
        _: &CudaStorage,
        _: Option<&CudaStorage>,
        _: bool,
    ) -> Result<(CudaStorage, ())> {
        disabled()
    }

    fn norm_backward(
        &self,
        _: &ConvShape,
        (): &mut (),
        _: &CudaStorage,
        _: &CudaStorage,
        _: NormGradients,
    ) -> Result<Option<CudaStorage>> {
        disabled()
    }
}
