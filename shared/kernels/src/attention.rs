//! Scaled dot-product attention of one image, all heads: forward and backward. Scores are computed
//! for one head at a time, so that they stay in the cache, and recomputed in the backward pass from
//! the log-sum-exp of each row (as in FlashAttention, Dao et al., 2022).

use crate::{
    gemm::{Beta, Matrix, gemm},
    row_ops::{dot, exp_row, scale_by, softmax_gradient_row, softmax_row},
};

/// Sizes of multi-head attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Tokens of an image.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
}

impl AttentionShape {
    /// `heads * head_dim`: channels of an output token; query, key and value together have three
    /// times as many.
    pub fn d_model(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Scale of the scores, `1 / sqrt(head_dim)`.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).powf(-0.5)
    }

    /// Columns of one head in the output `[tokens, d_model]`.
    fn output_head(&self, head: usize) -> Matrix {
        Matrix::strided(
            self.d_model(),
            head * self.head_dim,
            self.tokens,
            self.head_dim,
        )
    }

    /// Query, key and value of one head, in an image's `[tokens, 3 d_model]`.
    fn qkv_head(&self, head: usize) -> [Matrix; 3] {
        let d_model = self.d_model();
        [0, 1, 2].map(|part| {
            let first = part * d_model + head * self.head_dim;
            Matrix::strided(3 * d_model, first, self.tokens, self.head_dim)
        })
    }
}

/// Writes the attention `output` `[tokens, d_model]` of `qkv` `[tokens, 3 d_model]`, and the
/// log-sum-exp `lse` `[heads, tokens]` of the scores, which [`backward`] needs. `scores` is scratch
/// memory, `[tokens, tokens]`.
pub fn forward(
    shape: AttentionShape,
    qkv: &[f32],
    scores: &mut [f32],
    output: &mut [f32],
    lse: &mut [f32],
) {
    let AttentionShape {
        tokens, head_dim, ..
    } = shape;
    let square = Matrix::dense(tokens, tokens);
    let mut sums = vec![0.0; tokens];
    for (head, lse) in lse.chunks_exact_mut(tokens).enumerate() {
        let ([query, key, value], head_out) = (shape.qkv_head(head), shape.output_head(head));
        gemm(
            shape.scale(),
            (qkv, query),
            (qkv, key.transposed()),
            (scores, square),
            Beta::Zero,
        );
        let rows = scores.chunks_exact_mut(tokens).zip(lse);
        for ((row, row_lse), sum) in rows.zip(&mut sums) {
            let (max, sum_exp) = softmax_row(row);
            *row_lse = max + sum_exp.ln();
            *sum = sum_exp;
        }
        gemm(
            1.0,
            (scores, square),
            (qkv, value),
            (output, head_out),
            Beta::Zero,
        );
        // The softmax is normalized after the product: output rows are shorter than score rows.
        for (row, sum) in output.chunks_exact_mut(head_out.row_stride).zip(&sums) {
            scale_by(&mut row[head_out.offset..][..head_dim], 1.0 / sum);
        }
    }
}

/// Writes `grad_qkv`, from `grad_output` and what [`forward`] read and wrote. `probs` and
/// `grad_scores` are scratch memory, `[tokens, tokens]` each.
pub fn backward(
    shape: AttentionShape,
    (qkv, output, lse): (&[f32], &[f32], &[f32]),
    grad_output: &[f32],
    [probs, grad_scores]: [&mut [f32]; 2],
    grad_qkv: &mut [f32],
) {
    let AttentionShape {
        tokens, head_dim, ..
    } = shape;
    let (square, scale) = (Matrix::dense(tokens, tokens), shape.scale());
    for (head, lse) in lse.chunks_exact(tokens).enumerate() {
        let ([query, key, value], head_out) = (shape.qkv_head(head), shape.output_head(head));
        gemm(
            scale,
            (qkv, query),
            (qkv, key.transposed()),
            (probs, square),
            Beta::Zero,
        );
        gemm(
            1.0,
            (grad_output, head_out),
            (qkv, value.transposed()),
            (grad_scores, square),
            Beta::Zero,
        );
        let rows = probs
            .chunks_exact_mut(tokens)
            .zip(grad_scores.chunks_exact_mut(tokens));
        for (row, ((probs, grad_scores), row_lse)) in rows.zip(lse).enumerate() {
            exp_row(probs, *row_lse);
            let first = head_out.offset + row * head_out.row_stride;
            // sum_j probs_j * grad_probs_j, which equals grad_output . output.
            let delta = dot(
                &grad_output[first..first + head_dim],
                &output[first..first + head_dim],
            );
            softmax_gradient_row(probs, delta, grad_scores);
        }
        gemm(
            1.0,
            (probs, square.transposed()),
            (grad_output, head_out),
            (grad_qkv, value),
            Beta::Zero,
        );
        gemm(
            scale,
            (grad_scores, square),
            (qkv, key),
            (grad_qkv, query),
            Beta::Zero,
        );
        gemm(
            scale,
            (grad_scores, square.transposed()),
            (qkv, query),
            (grad_qkv, key),
            Beta::Zero,
        );
    }
}
