//! Chains as candle's operations.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    ResidualLayer,
    walk::{self, Layer, Trace, Wanted},
};
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::{
    convolution::{pictures, shape},
    frozen::FoldedConvBn,
    handle::handle,
    host::{floats, like, with_floats},
    learning::{BatchStats, ConvBn, Learner},
};

/// The last activations `[B,H',W',O]` of a chain that does not learn and that `x` `[B,H,W,I]`
/// enters.
pub fn residual_eval(x: &Tensor, links: &[ResidualLayer<FoldedConvBn>]) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::frozen_chain(x, links);
    }
    x.contiguous()?.apply_op1(Chain::new(links.to_vec()))
}

/// The last activations of a chain that learns, and the moments of every layer's batch, in the order
/// of [`Link::layers`].
pub fn residual_train(
    x: &Tensor,
    links: &[ResidualLayer<ConvBn>],
) -> Result<(Tensor, Vec<BatchStats>)> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::learning_chain(x, links);
    }
    let mut learners = Vec::new();
    let links: Vec<ResidualLayer<Learner>> = links
        .iter()
        .map(|link| {
            link.try_map(|parameters| {
                let learner = Learner::new(parameters)?;
                learners.push(learner.clone());
                Ok::<_, candle_core::Error>(learner)
            })
        })
        .collect::<Result<_>>()?;
    let handle = handle(&learners)?;
    let x = x.contiguous()?;
    let y = x.apply_op2(&handle, Chain::new(links.clone()))?;
    let layers = links.iter().flat_map(ResidualLayer::layers);
    let moments = layers.map(Learner::moments).collect::<Result<_>>()?;
    Ok((y, moments))
}

/// A chain at work; applied once.
struct Chain<L: Layer> {
    links: Vec<ResidualLayer<L>>,
    traces: Mutex<Vec<Trace<L>>>,
}

impl<L: Layer<View = [f32], Map = Vec<f32>>> Chain<L> {
    fn new(links: Vec<ResidualLayer<L>>) -> Self {
        Self {
            links,
            traces: Mutex::new(Vec::new()),
        }
    }

    fn traces(&self) -> MutexGuard<'_, Vec<Trace<L>>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = pictures(layout.shape())?;
        let (y, traces) = walk::forward(&self.links, input, floats(x, layout)?)?;
        *self.traces() = traces;
        let output = walk::output(&self.links, input)?;
        Ok((CpuStorage::F32(y), shape(output)))
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
        let mut traces = self.traces();
        if traces.len() != self.links.len() {
            bail!("a chain was differentiated before it was computed")
        }
        with_floats([x, y, gradient], |[x, y, gradient]| {
            walk::backward(&self.links, &mut traces, x, y, gradient, wanted)
        })?
        .map(|of_x| like(x, of_x))
        .transpose()
    }
}

impl CustomOp1 for Chain<FoldedConvBn> {
    fn name(&self) -> &'static str {
        "frozen-chain"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(x, layout)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.backward(x, y, gradient, false)
    }
}

impl CustomOp2 for Chain<Learner> {
    fn name(&self) -> &'static str {
        "learning-chain"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _handle: &CpuStorage,
        _handle_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
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
