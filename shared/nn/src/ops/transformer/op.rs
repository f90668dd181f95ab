//! Transformer sublayers and embedding as operations that candle differentiates.

use std::sync::{Mutex, OnceLock};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};

use super::{
    SublayerWeights,
    by_parts::{Part, PartWeights, SavedParts},
    row_ops,
};
use crate::{
    cuda,
    ops::{
        cpu_slices::{as_f32, with_f32},
        dropout::{DropoutMask, dropout},
        locked,
    },
};
use kernels::transformer::{Embedding, Sublayer};

/// A kernel as an operation on tokens, packed weights and the layer norm's weight, which makes candle differentiate it
/// where the weights are variables. Their gradients are handed over.
pub struct SublayerOp<K: Sublayer> {
    kernel: K,
    weights: SublayerWeights,
    /// Whether a gradient may be wanted.
    differentiable: bool,
    /// What the kernel saved for it.
    saved: OnceLock<K::Saved>,
}

impl<K: Sublayer> SublayerOp<K> {
    /// An operation that saves what the gradient needs only if there is to be one.
    pub fn new(kernel: K, weights: SublayerWeights, differentiable: bool) -> Self {
        Self {
            kernel,
            weights,
            differentiable,
            saved: OnceLock::new(),
        }
    }
}

impl<K: Sublayer> CustomOp3 for SublayerOp<K> {
    fn name(&self) -> &'static str {
        "transformer-sublayer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, _, width) = x_layout.shape().dims3()?;
        let (x, weights) = (as_f32(x, x_layout)?, as_f32(weights, weights_layout)?);
        let (y, saved) = self.kernel.forward(x, weights, self.differentiable);
        self.saved.get_or_init(|| saved);
        let shape = (batch, y.len() / (batch * width), width);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        packed: &Tensor,
        _norm: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(saved) = self.saved.get() else {
            bail!("a sublayer was differentiated before it was computed")
        };
        let with_weights = self.weights.tracked();
        let (grad_x, grad_weights) = with_f32([x, packed, gradient], |[x, packed, gradient]| {
            Ok(self
                .kernel
                .backward(x, packed, saved, gradient, with_weights))
        })?;
        if with_weights {
            let packed = Tensor::from_vec(grad_weights, packed.shape(), packed.device())?;
            let lengths = self.weights.tensors().map(Tensor::elem_count);
            let gradients = lengths.scan(0, |start, len| {
                *start += len;
                Some(packed.narrow(0, *start - len, len))
            });
            self.weights
                .hand_over(gradients.collect::<Result<Vec<_>>>()?)?;
        }
        let grad_x = Tensor::from_vec(grad_x, x.shape(), x.device())?;
        Ok((Some(grad_x), None, None))
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
        let tokens = as_f32(tokens, tokens_layout)?;
        let class = as_f32(class, class_layout)?;
        let positions = as_f32(positions, positions_layout)?;
        let y = self.kernel.forward(tokens, class, positions);
        Ok((CpuStorage::F32(y), self.shape.into()))
    }

    fn cuda_fwd(
        &self,
        tokens: &CudaStorage,
        tokens_layout: &Layout,
        class: &CudaStorage,
        class_layout: &Layout,
        positions: &CudaStorage,
        positions_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (class, positions) = ((class, class_layout), (positions, positions_layout));
        let mask = self.kernel.dropout;
        let y = cuda::row_ops::embed((tokens, tokens_layout), class, positions, mask)?;
        Ok((y, self.shape.into()))
    }

    fn bwd(
        &self,
        tokens: &Tensor,
        class: &Tensor,
        positions: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        if gradient.device().is_cuda() {
            let gradient = dropout(&gradient.detach(), self.kernel.dropout)?;
            let (batch, tokens_and_class, width) = gradient.dims3()?;
            let grad_tokens = gradient.narrow(1, 1, tokens_and_class - 1)?.contiguous()?;
            if !class.track_op() && !positions.track_op() {
                return Ok((Some(grad_tokens), None, None));
            }
            let of_images = gradient.reshape((batch, tokens_and_class * width))?;
            let grad_positions = row_ops::column_sums(&of_images, None)?.0;
            let grad_class = grad_positions.narrow(0, 0, width)?.copy()?;
            return Ok((
                Some(grad_tokens),
                Some(grad_class.reshape(class.shape())?),
                Some(grad_positions.reshape(positions.shape())?),
            ));
        }
        with_f32([gradient], |[gradient]| {
            let grad_tokens = tokens.track_op().then(|| {
                let values = self.kernel.grad_tokens(gradient);
                Tensor::from_vec(values, tokens.shape(), tokens.device())
            });
            if !class.track_op() && !positions.track_op() {
                return Ok((grad_tokens.transpose()?, None, None));
            }
            let values = self.kernel.grad_positions(gradient);
            let grad_class = values[..self.kernel.d_model].to_vec();
            let grad_class = Tensor::from_vec(grad_class, class.shape(), class.device())?;
            let grad_positions = Tensor::from_vec(values, positions.shape(), positions.device())?;
            Ok((
                grad_tokens.transpose()?,
                Some(grad_class),
                Some(grad_positions),
            ))
        })
    }
}

/// A sublayer by parts as an operation on tokens and the layer norm's weight; as [`SublayerOp`].
pub struct PartsOp {
    /// Which sublayer.
    pub part: Part,
    /// Its weights.
    pub weights: SublayerWeights,
    /// The same without a graph.
    pub parts: PartWeights,
    /// Dropout of what is added.
    pub mask: Option<DropoutMask>,
    /// Of the forward pass.
    pub saved: SavedParts,
    /// The tokens that are added to, and what is added: until the result is there.
    pub terms: Mutex<Option<[Tensor; 2]>>,
}

impl PartsOp {
    fn result(&self) -> Result<(Storage, Shape)> {
        let Some([queries, added]) = locked(&self.terms).take() else {
            bail!("a sublayer was computed twice")
        };
        let storage = self.parts.finish(&queries, &added, self.mask)?;
        Ok((storage, queries.shape().clone()))
    }
}

impl CustomOp2 for PartsOp {
    fn name(&self) -> &'static str {
        "transformer-sublayer-by-parts"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match self.result()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => bail!("a sublayer of another device"),
        }
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        match self.result()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => bail!("a sublayer of another device"),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        _norm: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (grad_x, grad_weights) = self.parts.backward(
            self.part,
            &x.detach(),
            &self.saved,
            &gradient.detach(),
            self.mask,
            self.weights.tracked(),
        )?;
        self.weights.hand_over(grad_weights.into_iter().flatten())?;
        Ok((Some(grad_x), None))
    }
}
