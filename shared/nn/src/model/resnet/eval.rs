//! A ResNet in evaluation mode: batch normalization folded into the convolutions, and VJPs on the CPU without
//! candle's graph, whose buffers would be allocated anew for every backward pass.

use candle_core::{Tensor, Var};

use super::{Stages, features, logits};
use crate::{
    FoldedConvBn, ResidualVjp,
    model::{Classifier, Features, Graph, Linearized, layers::Linear, normalization::InputLayer},
};
use base::Result;

/// A copy of a ResNet's weights, folded.
#[derive(Clone, Debug)]
pub struct EvalResNet {
    pub(super) input: InputLayer,
    pub(super) stages: Stages<FoldedConvBn>,
    pub(super) linear: Linear,
}

impl Classifier for EvalResNet {
    fn features(&self, images: &Tensor) -> Result<Features> {
        let pixels = self.input.forward(images)?;
        features(&pixels, &self.stages, &self.linear, |x, stage| {
            Ok(crate::residual_eval(x, stage)?)
        })
    }

    fn linearized<'a>(&'a self, images: &Tensor) -> Result<Box<dyn Linearized + 'a>> {
        if !images.device().is_cpu() {
            return Ok(Box::new(Graph::new(images, |pixels| self.logits(pixels))?));
        }
        let pixels = self.input.forward(images)?;
        let residual = ResidualVjp::new(&pixels, self.stages.concat())?;
        Ok(Box::new(LinearizedResNet {
            input: &self.input,
            logits: logits(residual.y(), &self.linear)?,
            linear: &self.linear,
            residual,
        }))
    }
}

/// The forward pass of a batch on the CPU.
struct LinearizedResNet<'a> {
    input: &'a InputLayer,
    residual: ResidualVjp,
    linear: &'a Linear,
    logits: Tensor,
}

impl Linearized for LinearizedResNet<'_> {
    fn logits(&self) -> &Tensor {
        &self.logits
    }

    fn vjp(&mut self, rows: &[usize], grad_logits: &[Tensor]) -> Result<Vec<Tensor>> {
        let indices: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let indices = Tensor::new(indices, self.logits.device())?;
        let y = Var::from_tensor(&self.residual.y().index_select(&indices, 0)?)?;
        let logits = logits(&y, self.linear)?;
        let grad_map = |grad_logits: &Tensor| {
            let mut gradients = (&logits * grad_logits)?.sum_all()?.backward()?;
            Ok(match gradients.remove(&y) {
                Some(gradient) => gradient.detach().contiguous()?,
                None => y.zeros_like()?.detach(),
            })
        };
        let grad_maps = grad_logits
            .iter()
            .map(grad_map)
            .collect::<Result<Vec<_>>>()?;
        let grad_pixels = self.residual.vjp(rows, &grad_maps)?;
        let grad_images = |gradient: &Tensor| self.input.backward(gradient);
        grad_pixels.iter().map(grad_images).collect()
    }
}
