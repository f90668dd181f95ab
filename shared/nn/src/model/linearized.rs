//! Vector-Jacobian products (VJPs) of a classifier: one forward pass, then any number of backward passes for
//! subsets of its rows, as DeepFool and C&W need them.

use candle_core::{Tensor, Var};

use base::Result;

/// A model's forward pass of one batch.
pub trait Linearized {
    /// `[B,classes]`.
    fn logits(&self) -> &Tensor;

    /// For each of `grad_logits` `[R,classes]` the gradient `[R,3,32,32]`, in the pixels, of the sum of the
    /// logits of `rows` times it; no row twice.
    fn vjp(&mut self, rows: &[usize], grad_logits: &[Tensor]) -> Result<Vec<Tensor>>;
}

/// By candle's autograd, for any model.
pub struct Graph {
    pixels: Var,
    logits: Tensor,
}

impl Graph {
    /// The forward pass of `images` through `logits`.
    pub fn new(images: &Tensor, logits: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let pixels = Var::from_tensor(&images.detach())?;
        Ok(Self {
            logits: logits(&pixels)?,
            pixels,
        })
    }
}

impl Linearized for Graph {
    fn logits(&self) -> &Tensor {
        &self.logits
    }

    fn vjp(&mut self, rows: &[usize], grad_logits: &[Tensor]) -> Result<Vec<Tensor>> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let rows = Tensor::new(rows, self.logits.device())?;
        let logits = self.logits.index_select(&rows, 0)?;
        let gradient = |grad_logits: &Tensor| {
            let loss = (&logits * grad_logits)?.sum_all()?;
            // A model may ignore its input.
            let all = match loss.backward()?.remove(&self.pixels) {
                Some(gradient) => gradient.detach(),
                None => self.pixels.zeros_like()?.detach(),
            };
            Ok(all.contiguous()?.index_select(&rows, 0)?)
        };
        grad_logits.iter().map(gradient).collect()
    }
}
