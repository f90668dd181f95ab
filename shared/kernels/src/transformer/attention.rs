//! Attention sublayer: `x + dropout(projection(attention(qkv(layer_norm(x)))))`, an image per task.

use rayon::prelude::*;

use super::{Sublayer, SublayerShape, add_residual, buffer, dropout_backward, reduce_in_groups};
use crate::{
    attention::{self, AttentionShape},
    dropout::DropoutMask,
    row_ops::add,
};

/// An attention sublayer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSublayer {
    /// Sizes; `hidden_dim` is three times `inner_dim`, which is `d_model`.
    pub shape: SublayerShape,
    /// Tokens and heads.
    pub attention: AttentionShape,
    /// Dropout of the output.
    pub dropout: Option<DropoutMask>,
}

/// Saved activations of an image.
pub struct SavedAttention {
    qkv: Vec<f32>,
    attended: Vec<f32>,
    lse: Vec<f32>,
}

#[derive(Default)]
struct AttentionScratch {
    normed: Vec<f32>,
    scores: Vec<f32>,
    grad_scores: Vec<f32>,
    grad_branch: Vec<f32>,
    grad_attended: Vec<f32>,
    grad_qkv: Vec<f32>,
    grad_normed: Vec<f32>,
}

impl AttentionSublayer {
    /// Elements of an image.
    fn image_len(&self) -> usize {
        self.attention.tokens * self.shape.d_model
    }
}

impl Sublayer for AttentionSublayer {
    /// One per image.
    type Saved = Vec<SavedAttention>;

    fn forward(&self, x: &[f32], weights: &[f32], save: bool) -> (Vec<f32>, Vec<SavedAttention>) {
        let weights = self.shape.weights(weights);
        let (image_len, tokens) = (self.image_len(), self.attention.tokens);
        let mut y = vec![0.0; x.len()];
        let saved: Vec<Option<SavedAttention>> = y
            .par_chunks_exact_mut(image_len)
            .zip(x.par_chunks_exact(image_len))
            .enumerate()
            .map_init(AttentionScratch::default, |scratch, (image, (y, x))| {
                let normed = buffer(&mut scratch.normed, image_len);
                weights.norm.apply(x, normed);
                let mut qkv = vec![0.0; 3 * image_len];
                weights.first.apply(normed, &mut qkv);
                for row in qkv.chunks_exact_mut(self.shape.hidden_dim) {
                    add(row, weights.first.bias);
                }
                let mut attended = vec![0.0; image_len];
                let mut lse = vec![0.0; tokens * self.attention.heads];
                let scores = buffer(&mut scratch.scores, tokens * tokens);
                attention::forward(self.attention, &qkv, scores, &mut attended, &mut lse);
                weights.second.apply(&attended, y);
                add_residual(x, weights.second.bias, self.dropout, image * image_len, y);
                save.then_some(SavedAttention { qkv, attended, lse })
            })
            .collect();
        (y, saved.into_iter().flatten().collect())
    }

    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        saved: &Vec<SavedAttention>,
        grad_output: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let weights = self.shape.weights(weights);
        let length = if with_weights {
            self.shape.packed_len()
        } else {
            0
        };
        let (image_len, square) = (self.image_len(), self.attention.tokens.pow(2));
        let mut grad_x = vec![0.0; x.len()];
        let sums = reduce_in_groups(
            &mut grad_x,
            image_len,
            length,
            |scratch: &mut AttentionScratch, image, grad_x, sums| {
                let mut sums = self.shape.sums(sums);
                let (x, grad_output) = (
                    &x[image * image_len..][..image_len],
                    &grad_output[image * image_len..][..image_len],
                );
                let saved = &saved[image];
                let grad_branch = buffer(&mut scratch.grad_branch, image_len);
                dropout_backward(grad_output, self.dropout, image * image_len, grad_branch);
                let grad_attended = buffer(&mut scratch.grad_attended, image_len);
                weights.second.backward(grad_branch, grad_attended);
                let grad_qkv = buffer(&mut scratch.grad_qkv, 3 * image_len);
                let squares = [
                    buffer(&mut scratch.scores, square),
                    buffer(&mut scratch.grad_scores, square),
                ];
                let forward = (
                    saved.qkv.as_slice(),
                    saved.attended.as_slice(),
                    saved.lse.as_slice(),
                );
                attention::backward(self.attention, forward, grad_attended, squares, grad_qkv);
                if let Some(sums) = &mut sums {
                    let normed = buffer(&mut scratch.normed, image_len);
                    weights.norm.apply(x, normed);
                    sums.second.add(&saved.attended, grad_branch);
                    sums.first.add(normed, grad_qkv);
                }
                let grad_normed = buffer(&mut scratch.grad_normed, image_len);
                weights.first.backward(grad_qkv, grad_normed);
                weights
                    .norm
                    .backward(x, grad_normed, grad_x, &mut sums.map(|sums| sums.norm));
                add(grad_x, grad_output);
            },
        );
        (grad_x, sums)
    }
}
