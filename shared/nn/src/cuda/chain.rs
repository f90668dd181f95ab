//! Chains on CUDA as candle's operations.

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail,
};

use super::{
    Kind,
    layer::{Frozen, Learning, chosen_kind},
    locked,
    map::{self, enter, leave, tensor, with_storages},
};
use crate::{
    chain::{
        Layer, ResidualLayer,
        walk::{self, Trace, Wanted},
    },
    convolution::{pictures, shape},
    frozen::FoldedConvBn,
    handle::handle,
    learning::{BatchStats, ConvBn, Learner},
};
use ::kernels::shape::NhwcShape;

/// [`crate::frozen_chain`] on CUDA.
pub fn frozen_chain(x: &Tensor, links: &[ResidualLayer<FoldedConvBn>]) -> Result<Tensor> {
    let frozen = |layer: &FoldedConvBn| Ok::<_, candle_core::Error>(Frozen(layer.clone()));
    let links: Result<_> = links.iter().map(|link| link.try_map(frozen)).collect();
    x.contiguous()?.apply_op1(Chain::new(links?))
}

/// [`crate::learning_chain`] on CUDA.
pub fn learning_chain(
    x: &Tensor,
    links: &[ResidualLayer<ConvBn>],
) -> Result<(Tensor, Vec<BatchStats>)> {
    let mut learners = Vec::new();
    let mut learning = |parameters: &ConvBn| {
        let learner = Learner::new(parameters)?;
        learners.push(learner.clone());
        Ok::<_, candle_core::Error>(Learning(learner))
    };
    let links: Result<Vec<ResidualLayer<Learning>>> = links
        .iter()
        .map(|link| link.try_map(&mut learning))
        .collect();
    let handle = handle(&learners)?;
    let y = x.contiguous()?.apply_op2(&handle, Chain::new(links?))?;
    let moments = learners
        .iter()
        .map(Learner::moments)
        .collect::<Result<_>>()?;
    Ok((y, moments))
}

/// A chain at work; applied once.
struct Chain<L: Layer> {
    links: Vec<ResidualLayer<L>>,
    kind: Kind,
    traces: Mutex<Vec<Trace<L>>>,
}

impl<L: Layer<View = CudaStorage, Map = CudaStorage>> Chain<L> {
    fn new(links: Vec<ResidualLayer<L>>) -> Self {
        Self {
            links,
            kind: chosen_kind(),
            traces: Mutex::default(),
        }
    }

    fn forward(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let input = pictures(layout.shape())?;
        let output = walk::output(&self.links, input)?;
        let x = enter(x, layout, input.channels, self.kind)?;
        let (y, traces) = walk::forward(&self.links, input, &x)?;
        *locked(&self.traces) = traces;
        Ok((leave(y, output, self.kind)?, shape(output)))
    }

    fn backward(
        &self,
        x: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
        parameters: bool,
    ) -> Result<Option<Tensor>> {
        let wanted = Wanted {
            input: x.track_op(),
            parameters,
        };
        let mut traces = locked(&self.traces);
        if traces.len() != self.links.len() {
            bail!("a chain was differentiated before it was computed")
        }
        let input = pictures(x.shape())?;
        let NhwcShape { channels, .. } = walk::output(&self.links, input)?;
        with_storages([x, y, gradient], |[x, y, gradient]| {
            let kind_of_x = map::kind(x.0)?;
            let x = enter(x.0, x.1, input.channels, self.kind)?;
            let y = enter(y.0, y.1, channels, self.kind)?;
            let gradient = enter(gradient.0, gradient.1, channels, self.kind)?;
            walk::backward(&self.links, &mut traces, &x, &y, &gradient, wanted)?
                .map(|of_x| Ok(tensor(leave(of_x, input, kind_of_x)?, shape(input))))
                .transpose()
        })
    }
}

impl CustomOp1 for Chain<Frozen> {
    fn name(&self) -> &'static str {
        "frozen-chain"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("a chain for CUDA, on the CPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        self.forward(x, layout)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.backward(x, y, gradient, false)
    }
}

impl CustomOp2 for Chain<Learning> {
    fn name(&self) -> &'static str {
        "learning-chain"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a chain for CUDA, on the CPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _handle: &CudaStorage,
        _handle_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward(x, layout)
    }

    fn bwd(
        &self,
        x: &Tensor,
        handle: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let learns = handle.track_op();
        let of_x = self.backward(x, y, gradient, learns)?;
        Ok((of_x, learns.then(|| handle.zeros_like()).transpose()?))
    }
}
