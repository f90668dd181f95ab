//! CLS-only attention sublayer: the output of [`super::AttentionSublayer`] for the class token (the
//! first) alone. Only one query per image is needed, so no other token needs a key or a value of
//! its own: the query is projected by the key weights and compared with the normalized tokens, and
//! the weighted sum of those is projected by the value weights once.
//!
//! With normalized tokens `n_j`, and for each head query `q` and weights `K`, `V` with biases `k`,
//! `v`: `softmax((n_j K^T + k) q)` is `softmax(n_j (K^T q))`, as `k q` is the same for every `j`;
//! and `sum p_j (V n_j + v)` is `V (sum p_j n_j) + v`.

use rayon::prelude::*;

use super::{
    Linear, LinearGrads, Sublayer, SublayerShape, SublayerWeights, add_residual, buffer,
    dropout_backward, reduce_in_groups,
};
use crate::{
    attention::AttentionShape,
    dropout::DropoutMask,
    gemm::{Beta, Matrix, gemm},
    row_ops::{add, add_scaled, dot, scale_by, softmax_gradient_row, softmax_row},
};

/// An attention sublayer for the class token.
#[derive(Clone, Copy, Debug)]
pub struct ClsAttentionSublayer {
    /// Sizes; `hidden_dim` is three times `inner_dim`, which is `d_model`.
    pub shape: SublayerShape,
    /// Tokens and heads.
    pub attention: AttentionShape,
    /// Dropout of the output.
    pub dropout: Option<DropoutMask>,
}

/// Activations and gradients of an image.
#[derive(Default)]
struct ClsAttentionScratch {
    normed: Vec<f32>,
    query: Vec<f32>,
    /// `[2 heads, tokens]`: attention probabilities, then gradients of the scores.
    weights: Vec<f32>,
    /// `[2 heads, d_model]`: gradients of the contexts, then queries projected by the key weights.
    projected: Vec<f32>,
    /// `[heads, d_model]`: token sums weighted by attention.
    context: Vec<f32>,
    attended: Vec<f32>,
    grad_branch: Vec<f32>,
    grad_attended: Vec<f32>,
    grad_projected: Vec<f32>,
    grad_query: Vec<f32>,
    grad_normed: Vec<f32>,
}

impl Sublayer for ClsAttentionSublayer {
    /// Nothing: recomputing is cheap.
    type Saved = ();

    fn forward(&self, x: &[f32], weights: &[f32], _save: bool) -> (Vec<f32>, ()) {
        let d_model = self.shape.d_model;
        let weights = self.shape.weights(weights);
        let mut y = vec![0.0; x.len() / self.attention.tokens];
        y.par_chunks_exact_mut(d_model)
            .zip(x.par_chunks_exact(self.image_len()))
            .enumerate()
            .for_each_init(ClsAttentionScratch::default, |scratch, (image, (y, x))| {
                self.forward_image(&weights, x, scratch);
                weights.second.apply(&scratch.attended, y);
                add_residual(
                    &x[..d_model],
                    weights.second.bias,
                    self.dropout,
                    image * d_model,
                    y,
                );
            });
        (y, ())
    }

    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        _saved: &(),
        grad_output: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let (d_model, image_len) = (self.shape.d_model, self.image_len());
        let weights = self.shape.weights(weights);
        let length = if with_weights {
            self.shape.packed_len()
        } else {
            0
        };
        let mut grad_x = vec![0.0; x.len()];
        let sums = reduce_in_groups(
            &mut grad_x,
            image_len,
            length,
            |scratch: &mut ClsAttentionScratch, image, grad_x, sums| {
                let mut sums = self.shape.sums(sums);
                let x = &x[image * image_len..][..image_len];
                let grad_output = &grad_output[image * d_model..][..d_model];
                self.forward_image(&weights, x, scratch);
                let grad_branch = buffer(&mut scratch.grad_branch, d_model);
                dropout_backward(grad_output, self.dropout, image * d_model, grad_branch);
                weights
                    .second
                    .backward(grad_branch, buffer(&mut scratch.grad_attended, d_model));
                if let Some(sums) = &mut sums {
                    sums.second.add(&scratch.attended, grad_branch);
                }
                self.backward_image(&weights, scratch, sums.as_mut().map(|sums| &mut sums.first));
                let norm_grads = &mut sums.map(|sums| sums.norm);
                weights
                    .norm
                    .backward(x, &scratch.grad_normed, grad_x, norm_grads);
                add(&mut grad_x[..d_model], grad_output);
            },
        );
        (grad_x, sums)
    }
}

impl ClsAttentionSublayer {
    /// Elements of an image.
    fn image_len(&self) -> usize {
        self.attention.tokens * self.shape.d_model
    }

    /// Query, key and value parts of the first linear layer.
    fn split_qkv<'a>(&self, first: Linear<'a>) -> [Linear<'a>; 3] {
        let d_model = self.shape.d_model;
        [0, 1, 2].map(|part| {
            let weight = &first.weight[part * d_model * d_model..][..d_model * d_model];
            Linear::new(weight, &first.bias[part * d_model..][..d_model])
        })
    }

    /// Rows of a head in a weight `[d_model, d_model]`.
    fn head_rows(&self, head: usize) -> Matrix {
        let AttentionShape { head_dim, .. } = self.attention;
        let d_model = self.shape.d_model;
        Matrix::strided(d_model, head * head_dim * d_model, head_dim, d_model)
    }

    /// Columns of a head in one row of all heads.
    fn head_columns(&self, head: usize) -> Matrix {
        Matrix::strided(
            self.shape.d_model,
            head * self.attention.head_dim,
            1,
            self.attention.head_dim,
        )
    }

    /// One row of `[heads, d_model]`.
    fn row(&self, row: usize) -> Matrix {
        let d_model = self.shape.d_model;
        Matrix::strided(d_model, row * d_model, 1, d_model)
    }

    /// Forward pass of an image, up to the attention output.
    fn forward_image(
        &self,
        weights: &SublayerWeights,
        x: &[f32],
        scratch: &mut ClsAttentionScratch,
    ) {
        let AttentionShape { tokens, heads, .. } = self.attention;
        let d_model = self.shape.d_model;
        let [queries, keys, values] = self.split_qkv(weights.first);
        let normed = exact_buffer(&mut scratch.normed, x.len());
        weights.norm.apply(x, normed);
        let query = exact_buffer(&mut scratch.query, d_model);
        queries.apply(&normed[..d_model], query);
        add(query, queries.bias);

        let projected = exact_buffer(&mut scratch.projected, 2 * heads * d_model);
        for head in 0..heads {
            let q = (&*query, self.head_columns(head));
            let keys = (keys.weight, self.head_rows(head));
            let projected = (&mut *projected, self.row(heads + head));
            gemm(self.attention.scale(), q, keys, projected, Beta::Zero);
        }
        let projected = (&projected[heads * d_model..], Matrix::dense(heads, d_model));
        let probs = &mut exact_buffer(&mut scratch.weights, 2 * heads * tokens)[..heads * tokens];
        let (all, shape) = (Matrix::dense(tokens, d_model), Matrix::dense(heads, tokens));
        gemm(
            1.0,
            projected,
            (normed, all.transposed()),
            (probs, shape),
            Beta::Zero,
        );
        for row in probs.chunks_exact_mut(tokens) {
            let (_, sum) = softmax_row(row);
            scale_by(row, 1.0 / sum);
        }
        let context = exact_buffer(&mut scratch.context, heads * d_model);
        let contexts = Matrix::dense(heads, d_model);
        gemm(
            1.0,
            (probs, shape),
            (normed, all),
            (context, contexts),
            Beta::Zero,
        );

        let attended = exact_buffer(&mut scratch.attended, d_model);
        for head in 0..heads {
            let context = (&*context, self.row(head));
            let values = (values.weight, self.head_rows(head).transposed());
            gemm(
                1.0,
                context,
                values,
                (attended, self.head_columns(head)),
                Beta::Zero,
            );
        }
        add(attended, values.bias);
    }

    /// Backward pass of an image from the attention output to the normalized tokens, after
    /// [`Self::forward_image`].
    fn backward_image(
        &self,
        weights: &SublayerWeights,
        scratch: &mut ClsAttentionScratch,
        sums: Option<&mut LinearGrads>,
    ) {
        let AttentionShape { tokens, heads, .. } = self.attention;
        let (d_model, scale) = (self.shape.d_model, self.attention.scale());
        let [queries, keys, values] = self.split_qkv(weights.first);
        let (normed, all) = (&scratch.normed, Matrix::dense(tokens, d_model));
        let grad_context = &mut scratch.projected[..heads * d_model];
        for head in 0..heads {
            let grad = (scratch.grad_attended.as_slice(), self.head_columns(head));
            let values = (values.weight, self.head_rows(head));
            gemm(
                1.0,
                grad,
                values,
                (grad_context, self.row(head)),
                Beta::Zero,
            );
        }

        let (probs, grad_scores) = scratch.weights.split_at_mut(heads * tokens);
        let (per_head, shape) = (Matrix::dense(heads, d_model), Matrix::dense(heads, tokens));
        gemm(
            1.0,
            (grad_context, per_head),
            (normed, all.transposed()),
            (grad_scores, shape),
            Beta::Zero,
        );
        let rows = probs
            .chunks_exact(tokens)
            .zip(grad_scores.chunks_exact_mut(tokens));
        for (probs, grads) in rows {
            softmax_gradient_row(probs, dot(probs, grads), grads);
        }
        let grad_projected = exact_buffer(&mut scratch.grad_projected, heads * d_model);
        gemm(
            1.0,
            (grad_scores, shape),
            (normed, all),
            (grad_projected, per_head),
            Beta::Zero,
        );
        let grad_query = exact_buffer(&mut scratch.grad_query, d_model);
        for head in 0..heads {
            let grad = (&*grad_projected, self.row(head));
            let keys = (keys.weight, self.head_rows(head).transposed());
            gemm(
                scale,
                grad,
                keys,
                (grad_query, self.head_columns(head)),
                Beta::Zero,
            );
        }

        if let Some(sums) = sums {
            let square = d_model * d_model;
            let [query_grads, key_grads, value_grads] =
                [0, 1, 2].map(|part| part * square..(part + 1) * square);
            add_outer_product(&mut sums.0[query_grads], grad_query, &normed[..d_model]);
            add(&mut sums.1[..d_model], grad_query);
            // The bias of the keys has no gradient: it shifts all scores alike.
            for head in 0..heads {
                let head_range =
                    head * self.attention.head_dim..(head + 1) * self.attention.head_dim;
                let model_range = head * d_model..(head + 1) * d_model;
                let block = head_range.start * d_model..head_range.end * d_model;
                let (query, grad) = (
                    &scratch.query[head_range.clone()],
                    &grad_projected[model_range.clone()],
                );
                let key_grads = &mut sums.0[key_grads.clone()][block.clone()];
                let q: Vec<f32> = query.iter().map(|query| scale * query).collect();
                add_outer_product(key_grads, &q, grad);
                let value_grads = &mut sums.0[value_grads.clone()][block];
                add_outer_product(
                    value_grads,
                    &scratch.grad_attended[head_range],
                    &scratch.context[model_range],
                );
            }
            add(&mut sums.1[2 * d_model..], &scratch.grad_attended);
        }

        let grad_normed = exact_buffer(&mut scratch.grad_normed, tokens * d_model);
        // A token enters twice: in the contexts and in the scores.
        let (used, by) = (
            Matrix::dense(2 * heads, tokens),
            Matrix::dense(2 * heads, d_model),
        );
        gemm(
            1.0,
            (&scratch.weights, used.transposed()),
            (&scratch.projected, by),
            (grad_normed, all),
            Beta::Zero,
        );
        let row = self.row(0);
        let weight = Matrix::dense(d_model, d_model);
        gemm(
            1.0,
            (grad_query, row),
            (queries.weight, weight),
            (grad_normed, row),
            Beta::One,
        );
    }
}

/// `sums += column * row`, an outer product.
fn add_outer_product(sums: &mut [f32], column: &[f32], row: &[f32]) {
    for (sums, factor) in sums.chunks_exact_mut(row.len()).zip(column) {
        add_scaled(sums, *factor, row);
    }
}

/// Reused scratch memory of exactly this length.
fn exact_buffer(scratch: &mut Vec<f32>, length: usize) -> &mut [f32] {
    scratch.resize(length, 0.0);
    scratch
}
