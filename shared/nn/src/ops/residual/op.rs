//! Residual stacks as operations that candle differentiates, on either device.

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail,
};

use super::{
    Backend, ConvBn, FoldedConvBn, Layer, ResidualLayer,
    layer::Cpu,
    pass::{self, SavedPart, Wanted},
};
use crate::{
    ComputeOptions,
    cuda::Cuda,
    ops::{
        conv::{nhwc_shape, tensor_shape},
        locked,
    },
};

/// The result `[B,H',W',O]` of a residual stack in evaluation mode for `x` `[B,H,W,I]`.
pub fn residual_eval(x: &Tensor, stack: &[ResidualLayer<FoldedConvBn>]) -> Result<Tensor> {
    x.contiguous()?.apply_op1(ResidualOp::new(stack.to_vec())?)
}

/// The result of a residual stack in training mode. Moves the running statistics of every layer.
pub fn residual_train(x: &Tensor, stack: &[ResidualLayer<ConvBn>]) -> Result<Tensor> {
    let layers = || stack.iter().flat_map(ResidualLayer::layers);
    layers().try_for_each(ConvBn::check)?;
    let Some(first) = layers().next() else {
        bail!("a residual stack without layers")
    };
    let op = ResidualOp::new(stack.to_vec())?;
    x.contiguous()?.apply_op2(&first.gamma, op)
}

/// What the forward pass on a device leaves for the backward pass.
type Saved<L, B> = Mutex<Vec<SavedPart<L, B>>>;

/// A residual stack; applied once.
struct ResidualOp<L: Layer<Cpu> + Layer<Cuda>> {
    stack: Vec<ResidualLayer<L>>,
    options: ComputeOptions,
    cpu: Saved<L, Cpu>,
    cuda: Saved<L, Cuda>,
}

impl<L: Layer<Cpu> + Layer<Cuda>> ResidualOp<L> {
    fn new(stack: Vec<ResidualLayer<L>>) -> Result<Self> {
        let Some(first) = stack.iter().flat_map(ResidualLayer::layers).next() else {
            bail!("a residual stack without layers")
        };
        Ok(Self {
            options: first.conv().options,
            stack,
            cpu: Mutex::default(),
            cuda: Mutex::default(),
        })
    }

    fn forward<B: Backend>(
        &self,
        saved: &Saved<L, B>,
        x: &B::Storage,
        layout: &Layout,
    ) -> Result<(B::Storage, Shape)>
    where
        L: Layer<B>,
    {
        let input = nhwc_shape(layout.shape())?;
        let output = pass::output::<L, B>(&self.stack, input)?;
        let x = B::enter(x, layout, self.options)?;
        let (y, parts) = pass::forward::<L, B>(&self.stack, input, &x)?;
        *locked(saved) = parts;
        Ok((B::leave(y, output, self.options)?, tensor_shape(output)))
    }

    fn backward(&self, tensors: [&Tensor; 3], with_parameters: bool) -> Result<Option<Tensor>> {
        if tensors[0].device().is_cpu() {
            self.backward_on(&self.cpu, tensors, with_parameters)
        } else {
            self.backward_on(&self.cuda, tensors, with_parameters)
        }
    }

    fn backward_on<B: Backend>(
        &self,
        saved: &Saved<L, B>,
        [x, y, gradient]: [&Tensor; 3],
        with_parameters: bool,
    ) -> Result<Option<Tensor>>
    where
        L: Layer<B>,
    {
        let wanted = Wanted {
            input: x.track_op(),
            parameters: with_parameters,
        };
        let mut saved = locked(saved);
        if saved.len() != self.stack.len() {
            bail!("a residual stack was differentiated before it was computed")
        }
        let grad_x = B::with_maps([x, y, gradient], self.options, |[x, y, gradient]| {
            pass::backward::<L, B>(&self.stack, &mut saved, x, y, gradient, wanted)
        })?;
        grad_x.map(|grad_x| B::tensor_like(x, grad_x)).transpose()
    }
}

impl CustomOp1 for ResidualOp<FoldedConvBn> {
    fn name(&self) -> &'static str {
        "residual-eval"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(&self.cpu, x, layout)
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(&self.cuda, x, layout)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.backward([x, y, gradient], false)
    }
}

/// Of input and the first layer's gamma, which makes candle differentiate the operation where its parameters are
/// variables. Their gradients, gamma's too, are handed over.
impl CustomOp2 for ResidualOp<ConvBn> {
    fn name(&self) -> &'static str {
        "residual-train"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _gamma: &CpuStorage,
        _gamma_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&self.cpu, x, layout)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _gamma: &CudaStorage,
        _gamma_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward(&self.cuda, x, layout)
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_x = self.backward([x, y, gradient], gamma.track_op())?;
        Ok((grad_x, None))
    }
}
