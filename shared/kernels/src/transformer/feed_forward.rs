//! Feed-forward sublayer: `x + dropout(second(dropout(gelu(first(layer_norm(x))))))`, an image per task, so that matrix
//! products have the same number of rows, and with it the same rounding, in any batch.

use rayon::prelude::*;

use super::{Sublayer, SublayerShape, add_residual, buffer, dropout_backward, reduce_in_groups};
use crate::{
    dropout::DropoutMask,
    row_ops::{self, add},
};

/// A feed-forward sublayer.
#[derive(Clone, Copy, Debug)]
pub struct FeedForwardSublayer {
    /// Sizes; `hidden_dim` and `inner_dim` are the same.
    pub shape: SublayerShape,
    /// Tokens of an image.
    pub tokens: usize,
    /// Dropout after the GELU.
    pub hidden_dropout: Option<DropoutMask>,
    /// Dropout of the output.
    pub dropout: Option<DropoutMask>,
}

#[derive(Default)]
struct FeedForwardScratch {
    normed: Vec<f32>,
    activated: Vec<f32>,
    factors: Vec<f32>,
    grad_branch: Vec<f32>,
    grad_hidden: Vec<f32>,
    grad_normed: Vec<f32>,
}

impl Sublayer for FeedForwardSublayer {
    /// Hidden activations before the GELU, image by image.
    type Saved = Vec<Vec<f32>>;

    fn forward(&self, x: &[f32], weights: &[f32], save: bool) -> (Vec<f32>, Vec<Vec<f32>>) {
        let SublayerShape {
            d_model,
            hidden_dim,
            ..
        } = self.shape;
        let weights = self.shape.weights(weights);
        let mut y = vec![0.0; x.len()];
        let image_len = self.tokens * d_model;
        let saved = y
            .par_chunks_mut(image_len)
            .zip(x.par_chunks(image_len))
            .enumerate()
            .map_init(FeedForwardScratch::default, |scratch, (image, (y, x))| {
                let normed = buffer(&mut scratch.normed, x.len());
                weights.norm.apply(x, normed);
                let mut hidden = vec![0.0; self.tokens * hidden_dim];
                weights.first.apply(normed, &mut hidden);
                let activated = buffer(&mut scratch.activated, self.tokens * hidden_dim);
                let positions = (image * self.tokens * hidden_dim..).step_by(hidden_dim);
                let pairs = hidden
                    .chunks_exact_mut(hidden_dim)
                    .zip(activated.chunks_exact_mut(hidden_dim));
                for ((hidden, activated), position) in pairs.zip(positions) {
                    add(hidden, weights.first.bias);
                    row_ops::gelu_row(hidden, activated);
                    if let Some(mask) = self.hidden_dropout {
                        mask.apply(position, activated);
                    }
                }
                weights.second.apply(activated, y);
                add_residual(x, weights.second.bias, self.dropout, image * image_len, y);
                if save { hidden } else { Vec::new() }
            })
            .collect();
        (y, saved)
    }

    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        saved: &Vec<Vec<f32>>,
        grad_output: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let SublayerShape {
            d_model,
            hidden_dim,
            ..
        } = self.shape;
        let weights = self.shape.weights(weights);
        let length = if with_weights {
            self.shape.packed_len()
        } else {
            0
        };
        let mut grad_x = vec![0.0; x.len()];
        let image_len = self.tokens * d_model;
        let sums = reduce_in_groups(
            &mut grad_x,
            image_len,
            length,
            |scratch: &mut FeedForwardScratch, image, grad_x, sums| {
                let mut sums = self.shape.sums(sums);
                let part = |all| part(all, image * image_len, grad_x.len());
                let (x, grad_output, hidden) = (part(x), part(grad_output), &saved[image]);
                let grad_branch = buffer(&mut scratch.grad_branch, x.len());
                dropout_backward(grad_output, self.dropout, image * image_len, grad_branch);
                let grad_hidden = buffer(&mut scratch.grad_hidden, hidden.len());
                weights.second.backward(grad_branch, grad_hidden);
                let activated = buffer(&mut scratch.activated, hidden.len());
                let factors = buffer(&mut scratch.factors, hidden_dim);
                let positions = (image * self.tokens * hidden_dim..).step_by(hidden_dim);
                let triples = hidden
                    .chunks_exact(hidden_dim)
                    .zip(activated.chunks_exact_mut(hidden_dim))
                    .zip(grad_hidden.chunks_exact_mut(hidden_dim));
                for (((hidden, activated), grad_hidden), position) in triples.zip(positions) {
                    row_ops::gelu_gradient_row(hidden, activated, grad_hidden);
                    if let Some(mask) = self.hidden_dropout {
                        mask.write(position, factors);
                        row_ops::mul(activated, factors);
                        row_ops::mul(grad_hidden, factors);
                    }
                }
                if let Some(sums) = &mut sums {
                    let normed = buffer(&mut scratch.normed, x.len());
                    weights.norm.apply(x, normed);
                    sums.second.add(activated, grad_branch);
                    sums.first.add(normed, grad_hidden);
                }
                let grad_normed = buffer(&mut scratch.grad_normed, x.len());
                weights.first.backward(grad_hidden, grad_normed);
                weights
                    .norm
                    .backward(x, grad_normed, grad_x, &mut sums.map(|sums| sums.norm));
                add(grad_x, grad_output);
            },
        );
        (grad_x, sums)
    }
}

/// `length` elements from `first` on.
fn part(all: &[f32], first: usize, length: usize) -> &[f32] {
    &all[first..first + length]
}
