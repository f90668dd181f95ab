//! A chain that does not learn, around feature maps on the CPU: walked through once, walked back as
//! often as one likes, for any of the images, each as often as one likes.

use candle_core::{Result, Tensor, bail};

use super::{
    ResidualLayer,
    walk::{self, Trace, Wanted},
};
use crate::{
    convolution::{pictures, shape},
    frozen::FoldedConvBn,
    host::with_floats,
};
use kernels::shape::NhwcShape;

/// Images that walk back together: so many make good use of packed weights, and not too much
/// memory.
const TOGETHER: usize = 64;

/// A chain and what it made of feature maps.
pub struct ResidualVjp {
    links: Vec<ResidualLayer<FoldedConvBn>>,
    input: NhwcShape,
    traces: Vec<Trace<FoldedConvBn>>,
    y: Tensor,
}

impl ResidualVjp {
    /// Lets `x` `[B,H,W,I]` through the links.
    pub fn new(x: &Tensor, links: Vec<ResidualLayer<FoldedConvBn>>) -> Result<Self> {
        let input = pictures(x.shape())?;
        let output = shape(walk::output(&links, input)?);
        let (y, traces) = with_floats([x], |[x]| walk::forward(&links, input, x))?;
        Ok(Self {
            links,
            input,
            traces,
            y: Tensor::from_vec(y, output, x.device())?,
        })
    }

    /// The last activations `[B,H',W',O]`.
    pub fn y(&self) -> &Tensor {
        &self.y
    }

    /// The gradients `[R,H,W,I]` of what came in, from `gradients` `[R,H',W',O]` of the last
    /// activations of `rows`.
    pub fn vjp(&mut self, rows: &[usize], gradients: &[Tensor]) -> Result<Vec<Tensor>> {
        let at_once = (TOGETHER / rows.len().max(1)).max(1);
        let mut selected: Option<(Vec<usize>, Vec<Trace<FoldedConvBn>>, Tensor)> = None;
        let mut all = Vec::with_capacity(gradients.len());
        for gradients in gradients.chunks(at_once) {
            let gradient = Tensor::cat(gradients, 0)?;
            let repeated = rows.repeat(gradients.len());
            let every = repeated.iter().copied().eq(0..self.input.images);
            if !every && selected.as_ref().is_none_or(|(rows, ..)| *rows != repeated) {
                let traces = self.traces.iter().map(|trace| trace.select(&repeated));
                let index: Vec<u32> = repeated.iter().map(|&row| row as u32).collect();
                let y = self
                    .y
                    .index_select(&Tensor::new(index, self.y.device())?, 0)?;
                selected = Some((repeated.clone(), traces.collect(), y));
            }
            let (traces, y) = match &mut selected {
                Some((_, traces, y)) if !every => (traces, &*y),
                _ => (&mut self.traces, &self.y),
            };
            let wanted = Wanted {
                input: true,
                parameters: false,
            };
            // What came in is asked for by those alone who learn.
            let of_x = with_floats([y, &gradient], |[y, gradient]| {
                walk::backward(&self.links, traces, &[], y, gradient, wanted)
            })?;
            let Some(of_x) = of_x else {
                bail!("a chain without a gradient")
            };
            let input = NhwcShape {
                images: repeated.len(),
                ..self.input
            };
            let of_x = Tensor::from_vec(of_x, shape(input), self.y.device())?;
            all.extend(of_x.chunk(gradients.len(), 0)?);
        }
        Ok(all)
    }
}
