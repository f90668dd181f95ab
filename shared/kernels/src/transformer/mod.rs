//! Transformer sublayers on the CPU, pre-norm (Vaswani et al., 2017):
//! `x + dropout(second(f(first(layer_norm(x)))))`, where `first` and `second` are linear layers and
//! `f` is attention or GELU. Each sublayer runs from end to end on a part of the batch at a time,
//! so that intermediate results stay in the cache.

use rayon::prelude::*;

use crate::{dropout::DropoutMask, row_ops::add};

mod attention;
mod cls_attention;
mod embedding;
mod feed_forward;
mod layer_norm;
mod linear;

pub use attention::AttentionSublayer;
pub use cls_attention::ClsAttentionSublayer;
pub use embedding::Embedding;
pub use feed_forward::FeedForwardSublayer;

use layer_norm::LayerNorm;
use linear::{Linear, LinearGrads};

/// A sublayer: forward and backward on token rows `[B * tokens, d_model]` and packed weights.
pub trait Sublayer: Send + Sync + 'static {
    /// Activations saved for the backward pass.
    type Saved: Send + Sync;

    /// The sublayer's output and, if `save`, what [`Sublayer::backward`] needs.
    fn forward(&self, x: &[f32], weights: &[f32], save: bool) -> (Vec<f32>, Self::Saved);

    /// Gradients of `x` and of the packed weights; the latter is empty without `with_weights`.
    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        saved: &Self::Saved,
        grad_output: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>);
}

/// Sizes of a sublayer.
#[derive(Clone, Copy, Debug)]
pub struct SublayerShape {
    /// Channels of a token.
    pub d_model: usize,
    /// Outputs of the first linear layer: the inner dimension of the feed-forward network, or three
    /// times `d_model` for query, key and value.
    pub hidden_dim: usize,
    /// Inputs of the second linear layer.
    pub inner_dim: usize,
    /// Epsilon of the layer normalization.
    pub eps: f32,
}

impl SublayerShape {
    /// Lengths of the packed weights, in order: weight and bias of layer norm, first and second
    /// linear layer.
    fn lengths(&self) -> [usize; 6] {
        let Self { d_model, .. } = *self;
        let (first, second) = (self.hidden_dim * d_model, d_model * self.inner_dim);
        [d_model, d_model, first, self.hidden_dim, second, d_model]
    }

    /// Length of the packed weights.
    pub fn packed_len(&self) -> usize {
        self.lengths().iter().sum()
    }

    /// Splits packed weights.
    fn weights<'a>(&self, mut packed: &'a [f32]) -> SublayerWeights<'a> {
        let [weight, bias, first, first_bias, second, second_bias] = self.lengths().map(|length| {
            let (part, rest) = packed.split_at(length);
            packed = rest;
            part
        });
        let eps = self.eps;
        SublayerWeights {
            norm: LayerNorm { weight, bias, eps },
            first: Linear::new(first, first_bias),
            second: Linear::new(second, second_bias),
        }
    }

    /// Splits packed weight gradients; `None` if they are empty.
    fn sums<'a>(&self, mut packed: &'a mut [f32]) -> Option<WeightGrads<'a>> {
        if packed.is_empty() {
            return None;
        }
        let [weight, bias, first, first_bias, second, second_bias] = self.lengths().map(|length| {
            let (part, rest) = std::mem::take(&mut packed).split_at_mut(length);
            packed = rest;
            part
        });
        Some(WeightGrads {
            norm: (weight, bias),
            first: LinearGrads(first, first_bias),
            second: LinearGrads(second, second_bias),
        })
    }
}

/// Weights of a sublayer.
struct SublayerWeights<'a> {
    norm: LayerNorm<'a>,
    first: Linear<'a>,
    second: Linear<'a>,
}

/// Gradients of [`SublayerWeights`], summed.
struct WeightGrads<'a> {
    norm: (&'a mut [f32], &'a mut [f32]),
    first: LinearGrads<'a>,
    second: LinearGrads<'a>,
}

/// End of a sublayer: `y = x + dropout(y + bias)`; `position` is that of the first element in the
/// dropout mask.
fn add_residual(
    x: &[f32],
    bias: &[f32],
    mask: Option<DropoutMask>,
    position: usize,
    y: &mut [f32],
) {
    let d_model = bias.len();
    let positions = (position..).step_by(d_model);
    for ((x, y), position) in x
        .chunks_exact(d_model)
        .zip(y.chunks_exact_mut(d_model))
        .zip(positions)
    {
        add(y, bias);
        if let Some(mask) = mask {
            mask.apply(position, y);
        }
        add(y, x);
    }
}

/// Dropout backward: `grad_output` times the mask.
fn dropout_backward(
    grad_output: &[f32],
    mask: Option<DropoutMask>,
    position: usize,
    out: &mut [f32],
) {
    out.copy_from_slice(grad_output);
    if let Some(mask) = mask {
        mask.apply(position, out);
    }
}

/// Reused scratch memory: `length` floats, contents arbitrary.
fn buffer(scratch: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if scratch.len() < length {
        scratch.resize(length, 0.0);
    }
    &mut scratch[..length]
}

/// Fills `output` piece by piece with `f(scratch, piece number, piece, sums)`, and returns the
/// total of what the pieces add to their `length` sums. Consecutive pieces share sums in a fixed
/// number of groups, so the order of additions does not depend on threads.
fn reduce_in_groups<Scratch: Default>(
    output: &mut [f32],
    piece_len: usize,
    length: usize,
    f: impl Fn(&mut Scratch, usize, &mut [f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    const MAX_GROUPS: usize = 32;
    let each = output.len().div_ceil(piece_len).div_ceil(MAX_GROUPS).max(1);
    let groups: Vec<Vec<f32>> = output
        .par_chunks_mut(each * piece_len)
        .enumerate()
        .map_init(Scratch::default, |scratch, (group, output)| {
            let mut sums = vec![0.0; length];
            for (i, output) in output.chunks_mut(piece_len).enumerate() {
                f(scratch, group * each + i, output, &mut sums);
            }
            sums
        })
        .collect();
    total(&groups, length)
}

fn total(groups: &[Vec<f32>], length: usize) -> Vec<f32> {
    const CHUNK: usize = 4096;
    let mut total = vec![0.0; length];
    total
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, total)| {
            for group in groups {
                add(total, &group[chunk * CHUNK..][..total.len()]);
            }
        });
    total
}
