//! `x + drop(projection(attention(qkv(norm(x)))))`: the tokens of images come in, as many go
//! out.

use rayon::prelude::*;

use super::{Sublayer, SublayerShape, finish, in_groups, masked, room};
use crate::{
    attention::{self, AttentionShape},
    dropout::DropoutMask,
    row_ops::add,
};

/// An attention half.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSublayer {
    /// Sizes; `hidden_dim` is three times `inner_dim`, which is `d_model`.
    pub shape: SublayerShape,
    /// Tokens of an image, heads.
    pub attention: AttentionShape,
    /// Dropout of the rows.
    pub dropout: Option<DropoutMask>,
}

/// What is saved of an image for the gradient.
pub struct Saved {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    levels: Vec<f32>,
}

#[derive(Default)]
struct Memory {
    normal: Vec<f32>,
    scores: Vec<f32>,
    slopes: Vec<f32>,
    masked: Vec<f32>,
    of_mixed: Vec<f32>,
    of_qkv: Vec<f32>,
    of_normal: Vec<f32>,
}

impl AttentionSublayer {
    /// Numbers of an image.
    fn image_len(&self) -> usize {
        self.attention.tokens * self.shape.d_model
    }
}

impl Sublayer for AttentionSublayer {
    /// Of each image.
    type Saved = Vec<Saved>;

    fn forward(&self, x: &[f32], weights: &[f32], save: bool) -> (Vec<f32>, Vec<Saved>) {
        let weights = self.shape.weights(weights);
        let (image_len, tokens) = (self.image_len(), self.attention.tokens);
        let mut y = vec![0.0; x.len()];
        let saved: Vec<Option<Saved>> = y
            .par_chunks_exact_mut(image_len)
            .zip(x.par_chunks_exact(image_len))
            .enumerate()
            .map_init(Memory::default, |memory, (image, (y, x))| {
                let normal = room(&mut memory.normal, image_len);
                weights.norm.apply(x, normal);
                let mut qkv = vec![0.0; 3 * image_len];
                weights.first.apply(normal, &mut qkv);
                for row in qkv.chunks_exact_mut(self.shape.hidden_dim) {
                    add(row, weights.first.bias);
                }
                let mut mixed = vec![0.0; image_len];
                let mut levels = vec![0.0; tokens * self.attention.heads];
                let scores = room(&mut memory.scores, tokens * tokens);
                attention::forward(self.attention, &qkv, scores, &mut mixed, &mut levels);
                weights.second.apply(&mixed, y);
                finish(x, weights.second.bias, self.dropout, image * image_len, y);
                save.then_some(Saved { qkv, mixed, levels })
            })
            .collect();
        (y, saved.into_iter().flatten().collect())
    }

    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        saved: &Vec<Saved>,
        gradient: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let weights = self.shape.weights(weights);
        let length = if with_weights {
            self.shape.packed_len()
        } else {
            0
        };
        let (image_len, square) = (self.image_len(), self.attention.tokens.pow(2));
        let mut of_x = vec![0.0; x.len()];
        let sums = in_groups(
            &mut of_x,
            image_len,
            length,
            |memory: &mut Memory, image, of_x, sums| {
                let mut sums = self.shape.sums(sums);
                let (x, gradient) = (
                    &x[image * image_len..][..image_len],
                    &gradient[image * image_len..][..image_len],
                );
                let saved = &saved[image];
                let behind = room(&mut memory.masked, image_len);
                masked(gradient, self.dropout, image * image_len, behind);
                let of_mixed = room(&mut memory.of_mixed, image_len);
                weights.second.back(behind, of_mixed);
                let of_qkv = room(&mut memory.of_qkv, 3 * image_len);
                let squares = [
                    room(&mut memory.scores, square),
                    room(&mut memory.slopes, square),
                ];
                let forward = (
                    saved.qkv.as_slice(),
                    saved.mixed.as_slice(),
                    saved.levels.as_slice(),
                );
                attention::backward(self.attention, forward, of_mixed, squares, of_qkv);
                if let Some(sums) = &mut sums {
                    let normal = room(&mut memory.normal, image_len);
                    weights.norm.apply(x, normal);
                    sums.second.add(&saved.mixed, behind);
                    sums.first.add(normal, of_qkv);
                }
                let of_normal = room(&mut memory.of_normal, image_len);
                weights.first.back(of_qkv, of_normal);
                weights
                    .norm
                    .back(x, of_normal, of_x, &mut sums.map(|sums| sums.norm));
                add(of_x, gradient);
            },
        );
        (of_x, sums)
    }
}
