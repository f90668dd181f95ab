//! Scaled dot-product attention of one picture after the other: query, key and value rows come in,
//! mixed rows go out, or their gradients. Scores are kept for one head at a time, in the cache,
//! and computed again for the gradient.

use rayon::prelude::*;

use super::rows::{softmax_gradient_row, softmax_row};

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

    /// One head's columns of a matrix with `width` columns.
    fn columns(&self, first: usize, width: usize) -> Matrix {
        Matrix {
            offset: first,
            rows: self.tokens,
            columns: self.size,
            row_step: width,
            column_step: 1,
        }
    }

    fn scores(&self) -> Matrix {
        Matrix {
            offset: 0,
            rows: self.tokens,
            columns: self.tokens,
            row_step: self.tokens,
            column_step: 1,
        }
    }

    /// Query, key and value of a head, in a picture's `[tokens, 3 width]`.
    fn parts(&self, head: usize) -> [Matrix; 3] {
        let width = self.width();
        [0, 1, 2].map(|part| self.columns(part * width + head * self.size, 3 * width))
    }

    fn scale(&self) -> f32 {
        (self.size as f32).powf(-0.5)
    }

    /// softmax(query key^T / sqrt(size)) of a head.
    fn weights(&self, qkv: &[f32], head: usize, scores: &mut [f32], weights: &mut [f32]) {
        let [query, key, _] = self.parts(head);
        multiply(
            self.scale(),
            (qkv, query),
            (qkv, key.turned()),
            scores,
            self.scores(),
        );
        let rows = weights.chunks_exact_mut(self.tokens);
        for (out, row) in rows.zip(scores.chunks_exact(self.tokens)) {
            softmax_row(row, out);
        }
    }
}

/// `[images, tokens, width]` from `qkv` `[images, tokens, 3 width]`.
pub fn forward(heads: Heads, qkv: &[f32]) -> Vec<f32> {
    let row = heads.tokens * heads.width();
    let mut output = vec![0.0; qkv.len() / 3];
    let scratch = || (square(heads), square(heads));
    output
        .par_chunks_exact_mut(row)
        .zip(qkv.par_chunks_exact(3 * row))
        .for_each_init(scratch, |(scores, weights), (output, qkv)| {
            for head in 0..heads.heads {
                heads.weights(qkv, head, scores, weights);
                let [_, _, value] = heads.parts(head);
                let mixed = heads.columns(head * heads.size, heads.width());
                multiply(1.0, (weights, heads.scores()), (qkv, value), output, mixed);
            }
        });
    output
}

/// Gradient of `qkv` from that of the result.
pub fn gradient(heads: Heads, qkv: &[f32], gradient: &[f32]) -> Vec<f32> {
    let row = heads.tokens * heads.width();
    let mut output = vec![0.0; qkv.len()];
    let scratch = || (square(heads), square(heads), square(heads));
    output
        .par_chunks_exact_mut(3 * row)
        .zip(qkv.par_chunks_exact(3 * row))
        .zip(gradient.par_chunks_exact(row))
        .for_each_init(
            scratch,
            |(scores, weights, slopes), ((output, qkv), gradient)| {
                let (all, scale) = (heads.scores(), heads.scale());
                for head in 0..heads.heads {
                    heads.weights(qkv, head, scores, weights);
                    let [query, key, value] = heads.parts(head);
                    let mixed = heads.columns(head * heads.size, heads.width());
                    multiply(
                        1.0,
                        (weights, all.turned()),
                        (gradient, mixed),
                        output,
                        value,
                    );
                    multiply(1.0, (gradient, mixed), (qkv, value.turned()), slopes, all);
                    let rows = weights.chunks_exact(heads.tokens);
                    let slopes = slopes.chunks_exact(heads.tokens);
                    for ((out, y), slope) in
                        scores.chunks_exact_mut(heads.tokens).zip(rows).zip(slopes)
                    {
                        softmax_gradient_row(y, slope, out);
                    }
                    multiply(scale, (scores, all), (qkv, key), output, query);
                    multiply(scale, (scores, all.turned()), (qkv, query), output, key);
                }
            },
        );
    output
}

fn square(heads: Heads) -> Vec<f32> {
    vec![0.0; heads.tokens * heads.tokens]
}

/// A matrix inside a slice.
#[derive(Clone, Copy, Debug)]
struct Matrix {
    offset: usize,
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Matrix {
    fn turned(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// The least length of a slice that holds it.
    fn end(&self) -> usize {
        self.offset + (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step + 1
    }
}

/// `output = factor * left right`, on the calling thread.
fn multiply(
    factor: f32,
    (left, l): (&[f32], Matrix),
    (right, r): (&[f32], Matrix),
    output: &mut [f32],
    o: Matrix,
) {
    assert!(l.columns == r.rows && l.rows == o.rows && r.columns == o.columns);
    assert!(l.end() <= left.len() && r.end() <= right.len() && o.end() <= output.len());
    // SAFETY: all three matrices lie inside their slices, as asserted, and the output's is
    // borrowed alone.
    unsafe {
        gemm::gemm(
            o.rows,
            o.columns,
            l.columns,
            output.as_mut_ptr().add(o.offset),
            o.column_step as isize,
            o.row_step as isize,
            false,
            left.as_ptr().add(l.offset),
            l.column_step as isize,
            l.row_step as isize,
            right.as_ptr().add(r.offset),
            r.column_step as isize,
            r.row_step as isize,
            0.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
