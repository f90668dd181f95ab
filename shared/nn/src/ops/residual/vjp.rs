//! Vector-Jacobian products of a residual stack in evaluation mode on the CPU: one forward pass, then as
//! many backward passes as wanted, for any of the images, each as often as wanted.

use candle_core::{Result, Tensor, bail};

use super::{
    FoldedConvBn, ResidualLayer,
    layer::Cpu,
    pass::{self, SavedPart, Wanted},
};
use crate::ops::{
    conv::{nhwc_shape, tensor_shape},
    cpu_slices::with_f32,
};
use kernels::shape::NhwcShape;

/// Images of one backward pass: enough to make good use of packed weights, without too much memory.
const MAX_BATCH: usize = 64;

/// Rows, and what the stack saved and computed for them.
type Selected = (Vec<usize>, Vec<SavedPart<FoldedConvBn, Cpu>>, Tensor);

/// A stack and what it computed of feature maps.
pub struct ResidualVjp {
    stack: Vec<ResidualLayer<FoldedConvBn>>,
    input: NhwcShape,
    saved: Vec<SavedPart<FoldedConvBn, Cpu>>,
    y: Tensor,
}

impl ResidualVjp {
    /// Computes the stack for `x` `[B,H,W,I]`.
    pub fn new(x: &Tensor, stack: Vec<ResidualLayer<FoldedConvBn>>) -> Result<Self> {
        let input = nhwc_shape(x.shape())?;
        let output = tensor_shape(pass::output::<_, Cpu>(&stack, input)?);
        let (y, saved) = with_f32([x], |[x]| pass::forward::<_, Cpu>(&stack, input, x))?;
        Ok(Self {
            stack,
            input,
            saved,
            y: Tensor::from_vec(y, output, x.device())?,
        })
    }

    /// The result `[B,H',W',O]`.
    pub fn y(&self) -> &Tensor {
        &self.y
    }

    /// The input's gradients `[R,H,W,I]`, one for each of `gradients` `[R,H',W',O]` of the result at
    /// `rows`.
    pub fn vjp(&mut self, rows: &[usize], gradients: &[Tensor]) -> Result<Vec<Tensor>> {
        let at_once = (MAX_BATCH / rows.len().max(1)).max(1);
        let mut selected: Option<Selected> = None;
        let mut all = Vec::with_capacity(gradients.len());
        for gradients in gradients.chunks(at_once) {
            let gradient = Tensor::cat(gradients, 0)?;
            let repeated = rows.repeat(gradients.len());
            let every = repeated.iter().copied().eq(0..self.input.images);
            if !every && selected.as_ref().is_none_or(|(rows, ..)| *rows != repeated) {
                let saved = self.saved.iter().map(|part| part.select(&repeated));
                let index: Vec<u32> = repeated.iter().map(|&row| row as u32).collect();
                let y = self
                    .y
                    .index_select(&Tensor::new(index, self.y.device())?, 0)?;
                selected = Some((repeated.clone(), saved.collect(), y));
            }
            let (saved, y) = match &mut selected {
                Some((_, saved, y)) if !every => (saved, &*y),
                _ => (&mut self.saved, &self.y),
            };
            let wanted = Wanted {
                input: true,
                parameters: false,
            };
            // The input itself is needed for the gradients of parameters alone.
            let grad_x = with_f32([y, &gradient], |[y, gradient]| {
                pass::backward::<_, Cpu>(&self.stack, saved, &[], y, gradient, wanted)
            })?;
            let Some(grad_x) = grad_x else {
                bail!("a residual stack without a gradient")
            };
            let input = NhwcShape {
                images: repeated.len(),
                ..self.input
            };
            let grad_x = Tensor::from_vec(grad_x, tensor_shape(input), self.y.device())?;
            all.extend(grad_x.chunk(gradients.len(), 0)?);
        }
        Ok(all)
    }
}
