//! `x + drop(contract(drop(gelu(expand(norm(x))))))`: rows come in, as many go out.

use rayon::prelude::*;

use super::{
    super::{
        mask::DropoutMask,
        rows::{self, add},
    },
    Sublayer, SublayerShape, finish, in_groups, masked, room,
};

/// A feed-forward half.
#[derive(Clone, Copy, Debug)]
pub struct FeedForwardSublayer {
    /// Sizes; `raised` and `lowered` are the same.
    pub sizes: SublayerShape,
    /// Dropout of the inner rows.
    pub inner: Option<DropoutMask>,
    /// Dropout of the outer rows.
    pub outer: Option<DropoutMask>,
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
    /// The inner rows before the GELU, block by block.
    type Kept = Vec<Vec<f32>>;

    fn forward(&self, x: &[f32], weights: &[f32], keep: bool) -> (Vec<f32>, Vec<Vec<f32>>) {
        let SublayerShape { width, raised, .. } = self.sizes;
        let weights = self.sizes.weights(weights);
        let mut y = vec![0.0; x.len()];
        let kept = y
            .par_chunks_mut(ROWS * width)
            .zip(x.par_chunks(ROWS * width))
            .enumerate()
            .map_init(Memory::default, |memory, (block, (y, x))| {
                let count = x.len() / width;
                let normal = room(&mut memory.normal, x.len());
                weights.norm.apply(x, normal);
                let mut lifted = vec![0.0; count * raised];
                weights.first.apply(normal, &mut lifted);
                let active = room(&mut memory.active, count * raised);
                let places = (block * ROWS * raised..).step_by(raised);
                let pairs = lifted
                    .chunks_exact_mut(raised)
                    .zip(active.chunks_exact_mut(raised));
                for ((lifted, active), place) in pairs.zip(places) {
                    add(lifted, weights.first.bias);
                    rows::gelu_row(lifted, active);
                    if let Some(mask) = self.inner {
                        mask.apply(place, active);
                    }
                }
                weights.second.apply(active, y);
                finish(x, weights.second.bias, self.outer, block * ROWS * width, y);
                if keep { lifted } else { Vec::new() }
            })
            .collect();
        (y, kept)
    }

    fn gradient(
        &self,
        x: &[f32],
        weights: &[f32],
        kept: &Vec<Vec<f32>>,
        gradient: &[f32],
        wanted: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let SublayerShape { width, raised, .. } = self.sizes;
        let weights = self.sizes.weights(weights);
        let length = if wanted { self.sizes.packed() } else { 0 };
        let mut of_x = vec![0.0; x.len()];
        let piece = ROWS * width;
        let sums = in_groups(
            &mut of_x,
            piece,
            length,
            |memory: &mut Memory, block, of_x, sums| {
                let mut sums = self.sizes.sums(sums);
                let part = |all| part(all, block * piece, of_x.len());
                let (x, gradient, lifted) = (part(x), part(gradient), &kept[block]);
                let behind = room(&mut memory.masked, x.len());
                masked(gradient, self.outer, block * piece, behind);
                let slopes = room(&mut memory.slopes, lifted.len());
                weights.second.back(behind, slopes);
                let active = room(&mut memory.active, lifted.len());
                let factors = room(&mut memory.factors, raised);
                let places = (block * ROWS * raised..).step_by(raised);
                let triples = lifted
                    .chunks_exact(raised)
                    .zip(active.chunks_exact_mut(raised))
                    .zip(slopes.chunks_exact_mut(raised));
                for (((lifted, active), slopes), place) in triples.zip(places) {
                    rows::gelu_gradient_row(lifted, active, slopes);
                    if let Some(mask) = self.inner {
                        mask.write(place, factors);
                        rows::scale(active, factors);
                        rows::scale(slopes, factors);
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
