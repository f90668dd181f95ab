//! Scaled dot-product attention within one picture: query, key and value rows come in, mixed rows
//! go out, or their gradients. Scores are kept for one head at a time, in the cache, and computed
//! again for the gradient.

use super::{
    matrix::{Matrix, Put, multiply},
    rows::{dot, exp_row, slope_row, softmax_row},
};

/// Sizes of attention.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Rows of one picture.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Numbers of a row that belong to one head.
    pub size: usize,
}

impl Heads {
    /// Numbers of a row of the result; query, key and value together have three times as many.
    pub fn width(&self) -> usize {
        self.heads * self.size
    }

    /// Factor of the scores.
    pub fn scale(&self) -> f32 {
        (self.size as f32).powf(-0.5)
    }

    /// One head's columns of mixed rows.
    fn mixed(&self, head: usize) -> Matrix {
        Matrix::inside(self.width(), head * self.size, self.tokens, self.size)
    }

    fn scores(&self) -> Matrix {
        Matrix::dense(self.tokens, self.tokens)
    }

    /// Query, key and value of a head, in a picture's `[tokens, 3 width]`.
    fn parts(&self, head: usize) -> [Matrix; 3] {
        let width = self.width();
        [0, 1, 2].map(|part| {
            let first = part * width + head * self.size;
            Matrix::inside(3 * width, first, self.tokens, self.size)
        })
    }
}

/// Mixed rows `[tokens, width]` of `qkv` `[tokens, 3 width]`, and the levels `[heads, tokens]` of
/// the scores: the logarithms of what the softmax divides by. `scores` is room for
/// `[tokens, tokens]`.
pub fn forward(
    heads: Heads,
    qkv: &[f32],
    scores: &mut [f32],
    mixed: &mut [f32],
    levels: &mut [f32],
) {
    let all = heads.scores();
    for (head, levels) in levels.chunks_exact_mut(heads.tokens).enumerate() {
        let [query, key, value] = heads.parts(head);
        multiply(
            heads.scale(),
            (qkv, query),
            (qkv, key.turned()),
            (scores, all),
            Put::Over,
        );
        for (row, level) in scores.chunks_exact_mut(heads.tokens).zip(levels) {
            *level = softmax_row(row);
        }
        multiply(
            1.0,
            (scores, all),
            (qkv, value),
            (mixed, heads.mixed(head)),
            Put::Over,
        );
    }
}

/// Gradient of `qkv` from `gradient`, that of the mixed rows, and from what [`forward`] read and
/// wrote. The two squares are room for `[tokens, tokens]` each.
pub fn gradient(
    heads: Heads,
    (qkv, mixed, levels): (&[f32], &[f32], &[f32]),
    gradient: &[f32],
    [weights, slopes]: [&mut [f32]; 2],
    of_qkv: &mut [f32],
) {
    let (all, scale, tokens) = (heads.scores(), heads.scale(), heads.tokens);
    for (head, levels) in levels.chunks_exact(tokens).enumerate() {
        let [query, key, value] = heads.parts(head);
        let part = heads.mixed(head);
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
            let here = here..here + part.columns;
            // What the weights' slopes have in common, since the weights add up to one.
            let common = dot(&gradient[here.clone()], &mixed[here]);
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
