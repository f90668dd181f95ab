//! The kernels of half layers as operations that candle differentiates: storages come in, storages
//! and gradients go out.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::super::{host::floats, host::with_floats};
use kernels::transformer::{Embedding, Sublayer};

/// A kernel as an operation on tokens and packed weights.
pub struct HalfOp<K: Sublayer> {
    kernel: K,
    /// Whether a gradient can be asked for.
    differentiable: bool,
    /// What the kernel keeps for it.
    kept: OnceLock<K::Saved>,
}

impl<K: Sublayer> HalfOp<K> {
    /// Keeps what the gradient needs only if there is to be one.
    pub fn new(kernel: K, differentiable: bool) -> Self {
        Self {
            kernel,
            differentiable,
            kept: OnceLock::new(),
        }
    }
}

impl<K: Sublayer> CustomOp2 for HalfOp<K> {
    fn name(&self) -> &'static str {
        "half-layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, _, width) = x_layout.shape().dims3()?;
        let (x, weights) = (floats(x, x_layout)?, floats(weights, weights_layout)?);
        let (y, kept) = self.kernel.forward(x, weights, self.differentiable);
        self.kept.get_or_init(|| kept);
        let shape = (batch, y.len() / (batch * width), width);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(kept) = self.kept.get() else {
            bail!("a gradient of half a layer that was never computed")
        };
        let wanted = weights.track_op();
        let (of_x, of_weights) = with_floats([x, weights, gradient], |[x, weights, gradient]| {
            Ok(self.kernel.backward(x, weights, kept, gradient, wanted))
        })?;
        let of_x = Tensor::from_vec(of_x, x.shape(), x.device())?;
        let of_weights =
            wanted.then(|| Tensor::from_vec(of_weights, weights.shape(), weights.device()));
        Ok((Some(of_x), of_weights.transpose()?))
    }
}

/// The embedding as an operation on tokens, class token and positions.
pub struct EmbedOp {
    /// Sizes and mask.
    pub kernel: Embedding,
    /// Of the result.
    pub shape: (usize, usize, usize),
}

impl CustomOp3 for EmbedOp {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        tokens: &CpuStorage,
        tokens_layout: &Layout,
        class: &CpuStorage,
        class_layout: &Layout,
        positions: &CpuStorage,
        positions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let tokens = floats(tokens, tokens_layout)?;
        let class = floats(class, class_layout)?;
        let positions = floats(positions, positions_layout)?;
        let y = self.kernel.forward(tokens, class, positions);
        Ok((CpuStorage::F32(y), self.shape.into()))
    }

    fn bwd(
        &self,
        tokens: &Tensor,
        class: &Tensor,
        positions: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        with_floats([gradient], |[gradient]| {
            let of_tokens = tokens.track_op().then(|| {
                let values = self.kernel.grad_tokens(gradient);
                Tensor::from_vec(values, tokens.shape(), tokens.device())
            });
            if !class.track_op() && !positions.track_op() {
                return Ok((of_tokens.transpose()?, None, None));
            }
            let values = self.kernel.grad_positions(gradient);
            let of_class = values[..self.kernel.d_model].to_vec();
            let of_class = Tensor::from_vec(of_class, class.shape(), class.device())?;
            let of_positions = Tensor::from_vec(values, positions.shape(), positions.device())?;
            Ok((of_tokens.transpose()?, Some(of_class), Some(of_positions)))
        })
    }
}
