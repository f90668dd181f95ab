//! `x + drop(projection(attention(qkv(norm(x)))))`: the tokens of images come in, as many go
//! out.

use rayon::prelude::*;

use super::{
    super::{
        attend::{self, AttentionShape},
        mask::DropoutMask,
        rows::add,
    },
    Sublayer, SublayerShape, finish, in_groups, masked, room,
};

/// An attention half.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSublayer {
    /// Sizes; `raised` is three times `lowered`, which is `width`.
    pub sizes: SublayerShape,
    /// Tokens of an image, heads.
    pub heads: AttentionShape,
    /// Dropout of the rows.
    pub outer: Option<DropoutMask>,
}

/// What is kept of an image for the gradient.
pub struct Kept {
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
    fn piece(&self) -> usize {
        self.heads.tokens * self.sizes.width
    }
}

impl Sublayer for AttentionSublayer {
    /// Of each image.
    type Kept = Vec<Kept>;

    fn forward(&self, x: &[f32], weights: &[f32], keep: bool) -> (Vec<f32>, Vec<Kept>) {
        let weights = self.sizes.weights(weights);
        let (piece, tokens) = (self.piece(), self.heads.tokens);
        let mut y = vec![0.0; x.len()];
        let kept: Vec<Option<Kept>> = y
            .par_chunks_exact_mut(piece)
            .zip(x.par_chunks_exact(piece))
            .enumerate()
            .map_init(Memory::default, |memory, (picture, (y, x))| {
                let normal = room(&mut memory.normal, piece);
                weights.norm.apply(x, normal);
                let mut qkv = vec![0.0; 3 * piece];
                weights.first.apply(normal, &mut qkv);
                for row in qkv.chunks_exact_mut(self.sizes.raised) {
                    add(row, weights.first.bias);
                }
                let mut mixed = vec![0.0; piece];
                let mut levels = vec![0.0; tokens * self.heads.heads];
                let scores = room(&mut memory.scores, tokens * tokens);
                attend::forward(self.heads, &qkv, scores, &mut mixed, &mut levels);
                weights.second.apply(&mixed, y);
                finish(x, weights.second.bias, self.outer, picture * piece, y);
                keep.then_some(Kept { qkv, mixed, levels })
            })
            .collect();
        (y, kept.into_iter().flatten().collect())
    }

    fn gradient(
        &self,
        x: &[f32],
        weights: &[f32],
        kept: &Vec<Kept>,
        gradient: &[f32],
        wanted: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let weights = self.sizes.weights(weights);
        let length = if wanted { self.sizes.packed() } else { 0 };
        let (piece, square) = (self.piece(), self.heads.tokens.pow(2));
        let mut of_x = vec![0.0; x.len()];
        let sums = in_groups(
            &mut of_x,
            piece,
            length,
            |memory: &mut Memory, picture, of_x, sums| {
                let mut sums = self.sizes.sums(sums);
                let (x, gradient) = (
                    &x[picture * piece..][..piece],
                    &gradient[picture * piece..][..piece],
                );
                let kept = &kept[picture];
                let behind = room(&mut memory.masked, piece);
                masked(gradient, self.outer, picture * piece, behind);
                let of_mixed = room(&mut memory.of_mixed, piece);
                weights.second.back(behind, of_mixed);
                let of_qkv = room(&mut memory.of_qkv, 3 * piece);
                let squares = [
                    room(&mut memory.scores, square),
                    room(&mut memory.slopes, square),
                ];
                let forward = (
                    kept.qkv.as_slice(),
                    kept.mixed.as_slice(),
                    kept.levels.as_slice(),
                );
                attend::gradient(self.heads, forward, of_mixed, squares, of_qkv);
                if let Some(sums) = &mut sums {
                    let normal = room(&mut memory.normal, piece);
                    weights.norm.apply(x, normal);
                    sums.second.add(&kept.mixed, behind);
                    sums.first.add(normal, of_qkv);
                }
                let of_normal = room(&mut memory.of_normal, piece);
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
