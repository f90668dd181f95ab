//! `x + drop(contract(drop(gelu(expand(norm(x))))))`: rows come in, as many go out.

use rayon::prelude::*;

use super::{Sublayer, SublayerShape, finish, in_groups, masked, room};
use crate::{
    dropout::DropoutMask,
    row_ops::{self, add},
};

/// A feed-forward half.
#[derive(Clone, Copy, Debug)]
pub struct FeedForwardSublayer {
    /// Sizes; `hidden_dim` and `inner_dim` are the same.
    pub shape: SublayerShape,
    /// Dropout of the hidden_dropout rows.
    pub hidden_dropout: Option<DropoutMask>,
    /// Dropout of the dropout rows.
    pub dropout: Option<DropoutMask>,
}

/// Rows at a time: enough for fast products, few enough for the cache.
const ROWS: usize = 256;

#[derive(Default)]
struct Memory {
    normal: Vec<f32>,
    active: Vec<f32>,
    factors: Vec<f32>,
    masked: Vec<f32>,
    slopes: Vec<f32>,
    of_normal: Vec<f32>,
}

impl Sublayer for FeedForwardSublayer {
    /// The hidden_dropout rows before the GELU, block by block.
    type Saved = Vec<Vec<f32>>;

    fn forward(&self, x: &[f32], weights: &[f32], save: bool) -> (Vec<f32>, Vec<Vec<f32>>) {
        let SublayerShape {
            d_model,
            hidden_dim,
            ..
        } = self.shape;
        let weights = self.shape.weights(weights);
        let mut y = vec![0.0; x.len()];
        let saved = y
            .par_chunks_mut(ROWS * d_model)
            .zip(x.par_chunks(ROWS * d_model))
            .enumerate()
            .map_init(Memory::default, |memory, (block, (y, x))| {
                let count = x.len() / d_model;
                let normal = room(&mut memory.normal, x.len());
                weights.norm.apply(x, normal);
                let mut lifted = vec![0.0; count * hidden_dim];
                weights.first.apply(normal, &mut lifted);
                let active = room(&mut memory.active, count * hidden_dim);
                let places = (block * ROWS * hidden_dim..).step_by(hidden_dim);
                let pairs = lifted
                    .chunks_exact_mut(hidden_dim)
                    .zip(active.chunks_exact_mut(hidden_dim));
                for ((lifted, active), place) in pairs.zip(places) {
                    add(lifted, weights.first.bias);
                    row_ops::gelu_row(lifted, active);
                    if let Some(mask) = self.hidden_dropout {
                        mask.apply(place, active);
                    }
                }
                weights.second.apply(active, y);
                finish(
                    x,
                    weights.second.bias,
                    self.dropout,
                    block * ROWS * d_model,
                    y,
                );
                if save { lifted } else { Vec::new() }
            })
            .collect();
        (y, saved)
    }

    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        saved: &Vec<Vec<f32>>,
        gradient: &[f32],
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
        let mut of_x = vec![0.0; x.len()];
        let image_len = ROWS * d_model;
        let sums = in_groups(
            &mut of_x,
            image_len,
            length,
            |memory: &mut Memory, block, of_x, sums| {
                let mut sums = self.shape.sums(sums);
                let part = |all| part(all, block * image_len, of_x.len());
                let (x, gradient, lifted) = (part(x), part(gradient), &saved[block]);
                let behind = room(&mut memory.masked, x.len());
                masked(gradient, self.dropout, block * image_len, behind);
                let slopes = room(&mut memory.slopes, lifted.len());
                weights.second.back(behind, slopes);
                let active = room(&mut memory.active, lifted.len());
                let factors = room(&mut memory.factors, hidden_dim);
                let places = (block * ROWS * hidden_dim..).step_by(hidden_dim);
                let triples = lifted
                    .chunks_exact(hidden_dim)
                    .zip(active.chunks_exact_mut(hidden_dim))
                    .zip(slopes.chunks_exact_mut(hidden_dim));
                for (((lifted, active), slopes), place) in triples.zip(places) {
                    row_ops::gelu_gradient_row(lifted, active, slopes);
                    if let Some(mask) = self.hidden_dropout {
                        mask.write(place, factors);
                        row_ops::scale(active, factors);
                        row_ops::scale(slopes, factors);
                    }
                }
                if let Some(sums) = &mut sums {
                    let normal = room(&mut memory.normal, x.len());
                    weights.norm.apply(x, normal);
                    sums.second.add(active, behind);
                    sums.first.add(normal, slopes);
                }
                let of_normal = room(&mut memory.of_normal, x.len());
                weights.first.back(slopes, of_normal);
                weights
                    .norm
                    .back(x, of_normal, of_x, &mut sums.map(|sums| sums.norm));
                add(of_x, gradient);
            },
        );
        (of_x, sums)
    }
}

/// `length` numbers from `first` on.
fn part(all: &[f32], first: usize, length: usize) -> &[f32] {
    &all[first..first + length]
}
