//! Scaled dot-product attention within one image: query, key and value rows come in, mixed rows
//! go out, or their gradients. Scores are kept for one head at a time, in the cache, and computed
//! again for the gradient.

use crate::{
    gemm::{Matrix, Put, multiply},
    row_ops::{dot, exp_row, scale_by, slope_row, softmax_row},
};

/// Sizes of attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Rows of one image.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a row that belong to one head.
    pub head_dim: usize,
}

impl AttentionShape {
    /// Numbers of a row of the result; query, key and value together have three times as many.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Factor of the scores.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).powf(-0.5)
    }

    /// One head's columns of mixed rows.
    fn mixed(&self, head: usize) -> Matrix {
        Matrix::inside(
            self.width(),
            head * self.head_dim,
            self.tokens,
            self.head_dim,
        )
    }

    /// Query, key and value of a head, in an image's `[tokens, 3 width]`.
    fn parts(&self, head: usize) -> [Matrix; 3] {
        let width = self.width();
        [0, 1, 2].map(|part| {
            let first = part * width + head * self.head_dim;
            Matrix::inside(3 * width, first, self.tokens, self.head_dim)
        })
    }
}

/// Mixed rows `[tokens, width]` of `qkv` `[tokens, 3 width]`, and the levels `[heads, tokens]` of
/// the scores: the logarithms of what the softmax divides by. `scores` is room for
/// `[tokens, tokens]`.
pub fn forward(
    heads: AttentionShape,
    qkv: &[f32],
    scores: &mut [f32],
    mixed: &mut [f32],
    levels: &mut [f32],
) {
    let AttentionShape {
        tokens, head_dim, ..
    } = heads;
    let all = Matrix::dense(tokens, tokens);
    let mut sums = vec![0.0; tokens];
    for (head, levels) in levels.chunks_exact_mut(tokens).enumerate() {
        let ([query, key, value], part) = (heads.parts(head), heads.mixed(head));
        multiply(
            heads.scale(),
            (qkv, query),
            (qkv, key.turned()),
            (scores, all),
            Put::Over,
        );
        let rows = scores.chunks_exact_mut(tokens).zip(levels);
        for ((row, level), sum) in rows.zip(&mut sums) {
            let (largest, total) = softmax_row(row);
            *level = largest + total.ln();
            *sum = total;
        }
        multiply(1.0, (scores, all), (qkv, value), (mixed, part), Put::Over);
        // Rows of the result are shorter than rows of scores: the division waits for them.
        for (row, sum) in mixed.chunks_exact_mut(part.row_step).zip(&sums) {
            scale_by(&mut row[part.offset..][..head_dim], 1.0 / sum);
        }
    }
}

/// Gradient of `qkv` from `gradient`, that of the mixed rows, and from what [`forward`] read and
/// wrote. The two squares are room for `[tokens, tokens]` each.
pub fn backward(
    heads: AttentionShape,
    (qkv, mixed, levels): (&[f32], &[f32], &[f32]),
    gradient: &[f32],
    [weights, slopes]: [&mut [f32]; 2],
    of_qkv: &mut [f32],
) {
    let AttentionShape {
        tokens, head_dim, ..
    } = heads;
    let (all, scale) = (Matrix::dense(tokens, tokens), heads.scale());
    for (head, levels) in levels.chunks_exact(tokens).enumerate() {
        let ([query, key, value], part) = (heads.parts(head), heads.mixed(head));
        multiply(
            scale,
            (qkv, query),
            (qkv, key.turned()),
            (weights, all),
            Put::Over,
        );
        multiply(
            1.0,
            (gradient, part),
            (qkv, value.turned()),
            (slopes, all),
            Put::Over,
        );
        let rows = weights
            .chunks_exact_mut(tokens)
            .zip(slopes.chunks_exact_mut(tokens));
        for (row, ((weights, slopes), level)) in rows.zip(levels).enumerate() {
            exp_row(weights, *level);
            let here = part.offset + row * part.row_step;
            // What the weights' slopes have in common, since the weights add up to one.
            let common = dot(
                &gradient[here..here + head_dim],
                &mixed[here..here + head_dim],
            );
            slope_row(weights, common, slopes);
        }
        multiply(
            1.0,
            (weights, all.turned()),
            (gradient, part),
            (of_qkv, value),
            Put::Over,
        );
        multiply(scale, (slopes, all), (qkv, key), (of_qkv, query), Put::Over);
        multiply(
            scale,
            (slopes, all.turned()),
            (qkv, query),
            (of_qkv, key),
            Put::Over,
        );
    }
}
