//! Sublayers forward and backward as matrix products and row-wise operations, without a graph inside: what CUDA
//! computes. Scores are computed for a few images at a time, and again in the backward pass, so that they are never in memory
//! for a whole batch; in bf16 kernels compute attention and its gradient, which keep none. Whatever is a factor of a product is bf16 where that is the precision;
//! tokens between sublayers and gradients of weights are f32.

use candle_core::{DType, Result, Tensor};

use super::{SublayerWeights, row_ops};
use crate::{
    ComputeOptions,
    ops::{
        dropout::{DropoutMask, dropout},
        linear::cut,
    },
};

/// The most scores in memory at once.
const MAX_SCORES: usize = 1 << 26;

/// A sublayer's weights without a graph, those of its linear maps as factors of products.
pub struct PartWeights(SublayerWeights);

/// What a sublayer keeps for its backward pass beside its input.
pub enum SavedParts {
    /// Of attention: queries `[1,B,H,M,S]`, keys and values `[2,B,H,N,S]`, and their mean by the scores.
    Attention {
        query: Tensor,
        key_value: Tensor,
        attended: Attended,
    },
    /// Of the feed-forward sublayer: the inner tokens without bias `[B,N,I]`.
    FeedForward { inner: Tensor },
}

/// What attention computes.
#[derive(Debug)]
pub struct Attended {
    /// The mean of the values by the scores, `[B,M,D]`.
    pub context: Tensor,
    /// The logarithm of the sum of each query's exponentials `[B,H,M]`, f32, where a kernel computes it, whose gradient
    /// needs it.
    pub stats: Option<Tensor>,
}

/// Which sublayer, and its dropout of inner tokens.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Attention by so many heads, of all tokens or of the first alone.
    Attention { heads: usize, only_first: bool },
    /// Feed-forward, with the mask of the inner tokens.
    FeedForward { inner: Option<DropoutMask> },
}

impl Part {
    /// The part of `x` `[B,N,D]` that the sublayer adds to.
    pub fn queries(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Attention {
                only_first: true, ..
            } => x.narrow(1, 0, 1)?.contiguous(),
            _ => Ok(x.clone()),
        }
    }
}

/// `a` `[…,I]` times `weight` `[O,I]` transposed.
fn times(a: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = a.dims().to_vec();
    let (outputs, inputs) = weight.dims2()?;
    shape.pop();
    shape.push(outputs);
    a.reshape(((), inputs))?
        .matmul(&weight.t()?)?
        .reshape(shape)
}

/// The gradient of `a` in [`times`].
fn times_transposed(gradient: &Tensor, weight: &Tensor) -> Result<Tensor> {
    times(gradient, &weight.t()?)
}

/// The gradients of the weight in [`times`] and of a bias added to its result, f32.
fn linear_gradients(gradient: &Tensor, a: &Tensor) -> Result<[Tensor; 2]> {
    let flat = |x: &Tensor| x.reshape(((), x.dim(2)?));
    let weight = flat(gradient)?.t()?.matmul(&flat(a)?)?;
    let bias = row_ops::column_sums(gradient, None)?.0;
    Ok([weight.to_dtype(DType::F32)?, bias])
}

/// `all` `[B,N,D]` with `first` `[B,M,D]` added to the first tokens.
fn add_to_first(all: &Tensor, first: &Tensor) -> Result<Tensor> {
    let (tokens, count) = (all.dim(1)?, first.dim(1)?);
    if tokens == count {
        return all + first;
    }
    let sum = (all.narrow(1, 0, count)?.contiguous()? + first)?;
    Tensor::cat(
        &[&sum, &all.narrow(1, count, tokens - count)?.contiguous()?],
        1,
    )
}

impl PartWeights {
    /// Of a sublayer.
    pub fn new(weights: &SublayerWeights) -> Result<Self> {
        let mut weights = weights.detached();
        let options = weights.options;
        for [weight, _] in [&mut weights.first, &mut weights.second] {
            *weight = cut(weight, options)?;
        }
        Ok(Self(weights))
    }

    fn normed(&self, x: &Tensor) -> Result<Tensor> {
        let SublayerWeights {
            norm: [gamma, beta],
            eps,
            options,
            ..
        } = &self.0;
        row_ops::layer_norm(x, gamma, beta, *eps, *options)
    }

    /// Weight and bias of a part of the first linear map: the queries', or the keys' and values'.
    fn projection(&self, keys: bool) -> Result<[Tensor; 2]> {
        let width = self.0.norm[0].elem_count();
        let (start, len) = if keys { (width, 2 * width) } else { (0, width) };
        let [weight, bias] = &self.0.first;
        Ok([weight.narrow(0, start, len)?, bias.narrow(0, start, len)?])
    }

    /// What is added to the queries, before its bias and dropout; and what the backward pass needs.
    pub fn forward(&self, part: Part, x: &Tensor) -> Result<(Tensor, SavedParts)> {
        let normed = self.normed(x)?;
        match part {
            Part::Attention { heads, .. } => {
                let project = |x: &Tensor, keys| -> Result<Tensor> {
                    let [weight, bias] = self.projection(keys)?;
                    let parts = if keys { 2 } else { 1 };
                    let projected = times(x, &weight)?;
                    row_ops::split_heads(&projected, Some(&bias), [parts, heads])
                };
                let query = project(&part.queries(&normed)?, false)?;
                let key_value = project(&normed, true)?;
                let attended = attend(&query, &key_value, self.0.options)?;
                let added = times(&attended.context, &self.0.second[0])?;
                let saved = SavedParts::Attention {
                    query,
                    key_value,
                    attended,
                };
                Ok((added, saved))
            }
            Part::FeedForward { inner: mask } => {
                let inner = times(&normed, &self.0.first[0])?;
                let active = row_ops::gelu_dropout(&inner, &self.0.first[1], mask)?;
                let added = times(&active, &self.0.second[0])?;
                Ok((added, SavedParts::FeedForward { inner }))
            }
        }
    }

    /// `queries + drop(added + bias)`: the sublayer's result.
    pub fn finish(
        &self,
        queries: &Tensor,
        added: &Tensor,
        mask: Option<DropoutMask>,
    ) -> Result<candle_core::Storage> {
        row_ops::residual_dropout(queries, added, &self.0.second[1], mask)
    }

    /// The gradients of `x` and, if wanted, of the weights from that of the result.
    pub fn backward(
        &self,
        part: Part,
        x: &Tensor,
        saved: &SavedParts,
        gradient: &Tensor,
        mask: Option<DropoutMask>,
        with_weights: bool,
    ) -> Result<(Tensor, Option<Vec<Tensor>>)> {
        let gradient = gradient.contiguous()?;
        let added = cut(&dropout(&gradient, mask)?, self.0.options)?;
        let inner_gradient = times_transposed(&added, &self.0.second[0])?;
        // The gradient of the normalized tokens; and those of both linear maps.
        let (grad_normed, first, second) = match (saved, part) {
            (
                SavedParts::Attention {
                    query,
                    key_value,
                    attended,
                },
                Part::Attention { heads, .. },
            ) => {
                let options = self.0.options;
                let gradients =
                    attend_backward(query, key_value, attended, &inner_gradient, heads, options)?;
                let [of_query, of_keys] = gradients.map(|parts| row_ops::merge_heads(&parts));
                let (of_query, of_keys) = (of_query?, of_keys?);
                let [to_query, _] = self.projection(false)?;
                let [to_keys, _] = self.projection(true)?;
                let grad_normed = add_to_first(
                    &times_transposed(&of_keys, &to_keys)?,
                    &times_transposed(&of_query, &to_query)?,
                )?;
                let weights = || -> Result<_> {
                    let normed = self.normed(x)?;
                    let queries = linear_gradients(&of_query, &part.queries(&normed)?)?;
                    let keys = linear_gradients(&of_keys, &normed)?;
                    let first = std::iter::zip(&queries, &keys)
                        .map(|(query, keys)| Tensor::cat(&[query, keys], 0))
                        .collect::<Result<Vec<_>>>()?;
                    Ok((first, linear_gradients(&added, &attended.context)?))
                };
                let (first, second) = with_weights.then(weights).transpose()?.unzip();
                (grad_normed, first, second)
            }
            (SavedParts::FeedForward { inner }, Part::FeedForward { inner: inner_mask }) => {
                let bias = &self.0.first[1];
                let second = with_weights.then(|| {
                    let active = row_ops::gelu_dropout(inner, bias, inner_mask)?;
                    linear_gradients(&added, &active)
                });
                let second = second.transpose()?;
                let of_inner =
                    row_ops::gelu_dropout_backward(inner, bias, inner_mask, inner_gradient)?;
                let first = with_weights.then(|| linear_gradients(&of_inner, &self.normed(x)?));
                let first = first.transpose()?.map(Vec::from);
                let grad_normed = times_transposed(&of_inner, &self.0.first[0])?;
                (grad_normed, first, second)
            }
            _ => candle_core::bail!("what another sublayer saved"),
        };
        let gamma = &self.0.norm[0];
        let (grad_x, normalized) =
            row_ops::layer_norm_backward(x, gamma, self.0.eps, &grad_normed)?;
        let grad_x = add_to_first(&grad_x, &gradient)?;
        let (Some(first), Some(second)) = (first, second) else {
            return Ok((grad_x, None));
        };
        let (grad_beta, grad_gamma) = row_ops::column_sums(&grad_normed, Some(&normalized))?;
        let norm = grad_gamma.into_iter().chain([grad_beta]);
        Ok((grad_x, Some(norm.chain(first).chain(second).collect())))
    }
}

/// The images of each piece whose scores are in memory at once.
fn pieces(query: &Tensor, key_value: &Tensor) -> Result<impl Iterator<Item = (usize, usize)>> {
    let (_, batch, heads, queries, _) = query.dims5()?;
    let scores = heads * queries * key_value.dim(3)?;
    let images = (MAX_SCORES / scores).clamp(1, batch);
    let starts = (0..batch).step_by(images);
    Ok(starts.map(move |start| (start, images.min(batch - start))))
}

/// A part `[n,H,N,S]` of some images of `[P,B,H,N,S]`.
fn images_of(x: &Tensor, part: usize, (start, len): (usize, usize)) -> Result<Tensor> {
    x.get(part)?.narrow(0, start, len)
}

/// Factor of the scores.
fn scale(query: &Tensor) -> Result<f64> {
    Ok((query.dim(4)? as f64).powf(-0.5))
}

/// The scores of some images after softmax, `[n,H,M,N]`.
fn probabilities(query: &Tensor, key_value: &Tensor, piece: (usize, usize)) -> Result<Tensor> {
    let key = images_of(key_value, 0, piece)?;
    let scores = images_of(query, 0, piece)?.matmul(&key.t()?)?;
    row_ops::softmax(scores, scale(query)?)
}

/// Scaled dot-product attention (Vaswani et al., 2017, section 3.2).
fn attend(query: &Tensor, key_value: &Tensor, options: ComputeOptions) -> Result<Attended> {
    if let Some(attended) = row_ops::attention(query, key_value, scale(query)?, options)? {
        return Ok(attended);
    }
    let mut contexts = Vec::new();
    for piece in pieces(query, key_value)? {
        let value = images_of(key_value, 1, piece)?;
        contexts.push(probabilities(query, key_value, piece)?.matmul(&value)?);
    }
    Ok(Attended {
        context: row_ops::merge_heads(&Tensor::cat(&contexts, 0)?.unsqueeze(0)?)?,
        stats: None,
    })
}

/// The gradients of queries and of keys and values from that of the context `[B,M,D]`.
fn attend_backward(
    query: &Tensor,
    key_value: &Tensor,
    attended: &Attended,
    gradient: &Tensor,
    heads: usize,
    options: ComputeOptions,
) -> Result<[Tensor; 2]> {
    let scale = scale(query)?;
    let computed =
        row_ops::attention_backward(query, key_value, attended, gradient, scale, options)?;
    if let Some(gradients) = computed {
        return Ok(gradients);
    }
    let gradient = row_ops::split_heads(gradient, None, [1, heads])?;
    let (mut of_query, mut of_key, mut of_value) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces(query, key_value)? {
        let probabilities = probabilities(query, key_value, piece)?;
        let gradient = images_of(&gradient, 0, piece)?;
        let value = images_of(key_value, 1, piece)?;
        of_value.push(probabilities.t()?.matmul(&gradient)?);
        let of_scores = gradient.matmul(&value.t()?)?;
        let of_scores = row_ops::softmax_backward(&probabilities, of_scores, scale)?;
        of_query.push(of_scores.matmul(&images_of(key_value, 0, piece)?)?);
        of_key.push(of_scores.t()?.matmul(&images_of(query, 0, piece)?)?);
    }
    let whole = |pieces: &[Tensor]| Tensor::cat(pieces, 0);
    Ok([
        whole(&of_query)?.unsqueeze(0)?,
        Tensor::stack(&[whole(&of_key)?, whole(&of_value)?], 0)?,
    ])
}
