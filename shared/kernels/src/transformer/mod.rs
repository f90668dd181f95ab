//! Halves of a Transformer's layers: rows of tokens and packed weights come in, the rows after
//! half a layer go out, or gradients. A half is `x + drop(second(f(first(norm(x)))))`, where `f`
//! is attention or a GELU. Each works on a part of the batch at a time, from end to end, so that
//! what lies in between stays in the cache.

use rayon::prelude::*;

use crate::{
    dropout::DropoutMask,
    gemm::{Matrix, Put, multiply},
    row_ops::{self, add},
};

mod attention;
mod cls_attention;
mod embedding;
mod feed_forward;

pub use attention::AttentionSublayer;
pub use cls_attention::ClsAttentionSublayer;
pub use embedding::Embedding;
pub use feed_forward::FeedForwardSublayer;

/// A kernel of half a layer.
pub trait Sublayer: Send + Sync + 'static {
    /// What it keeps of the forward pass for the gradient.
    type Saved: Send + Sync;

    /// The rows after the half, and what [`Half::gradient`] needs, if `save` says it is to come.
    fn forward(&self, x: &[f32], weights: &[f32], save: bool) -> (Vec<f32>, Self::Saved);

    /// Gradients of `x` and, if with_weights (else empty), of the weights.
    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        saved: &Self::Saved,
        gradient: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>);
}

/// Sizes of half a layer.
#[derive(Clone, Copy, Debug)]
pub struct SublayerShape {
    /// Numbers of a token.
    pub d_model: usize,
    /// What the first map makes of them.
    pub hidden_dim: usize,
    /// What the second map makes a token of.
    pub inner_dim: usize,
    /// Of the layer norm.
    pub eps: f32,
}

impl SublayerShape {
    /// Lengths of the packed weights, in order: weight and bias of norm, first and second map.
    fn lengths(&self) -> [usize; 6] {
        let Self { d_model, .. } = *self;
        let (first, second) = (self.hidden_dim * d_model, d_model * self.inner_dim);
        [d_model, d_model, first, self.hidden_dim, second, d_model]
    }

    /// Length of all packed weights.
    pub fn packed_len(&self) -> usize {
        self.lengths().iter().sum()
    }

    /// Packed weights, taken apart.
    fn weights<'a>(&self, mut packed: &'a [f32]) -> Weights<'a> {
        let [weight, bias, first, first_bias, second, second_bias] = self.lengths().map(|length| {
            let (part, rest) = packed.split_at(length);
            packed = rest;
            part
        });
        let eps = self.eps;
        Weights {
            norm: Norm { weight, bias, eps },
            first: Map::new(first, first_bias),
            second: Map::new(second, second_bias),
        }
    }

    /// Packed sums of gradients, taken apart; none if they are not with_weights.
    fn sums<'a>(&self, mut packed: &'a mut [f32]) -> Option<Sums<'a>> {
        if packed.is_empty() {
            return None;
        }
        let [weight, bias, first, first_bias, second, second_bias] = self.lengths().map(|length| {
            let (part, rest) = std::mem::take(&mut packed).split_at_mut(length);
            packed = rest;
            part
        });
        Some(Sums {
            norm: (weight, bias),
            first: MapSums(first, first_bias),
            second: MapSums(second, second_bias),
        })
    }
}

/// The weights of half a layer.
struct Weights<'a> {
    norm: Norm<'a>,
    first: Map<'a>,
    second: Map<'a>,
}

/// Sums of the gradients of [`Weights`].
struct Sums<'a> {
    norm: (&'a mut [f32], &'a mut [f32]),
    first: MapSums<'a>,
    second: MapSums<'a>,
}

/// A layer norm.
struct Norm<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
}

impl Norm<'_> {
    fn apply(&self, x: &[f32], y: &mut [f32]) {
        let d_model = self.weight.len();
        for (x, y) in x.chunks_exact(d_model).zip(y.chunks_exact_mut(d_model)) {
            let (mean, inv_std) = row_ops::moments(x, self.eps);
            row_ops::norm_row(x, mean, inv_std, self.weight, self.bias, y);
        }
    }

    /// Gradient of the input, from that of the output.
    fn back(
        &self,
        x: &[f32],
        gradient: &[f32],
        of_x: &mut [f32],
        sums: &mut Option<(&mut [f32], &mut [f32])>,
    ) {
        let d_model = self.weight.len();
        let outputs = of_x.chunks_exact_mut(d_model);
        for ((x, gradient), out) in x
            .chunks_exact(d_model)
            .zip(gradient.chunks_exact(d_model))
            .zip(outputs)
        {
            let (mean, inv_std) = row_ops::moments(x, self.eps);
            row_ops::norm_gradient_row(x, mean, inv_std, self.weight, gradient, out);
            if let Some((weight, bias)) = sums {
                row_ops::norm_parameters_row(x, mean, inv_std, gradient, weight, bias);
            }
        }
    }
}

/// A linear map: weight `[outputs, inputs]`, bias `[outputs]`.
#[derive(Clone, Copy)]
struct Map<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
}

impl<'a> Map<'a> {
    fn new(weight: &'a [f32], bias: &'a [f32]) -> Self {
        Self { weight, bias }
    }

    fn matrix(&self) -> Matrix {
        let outputs = self.bias.len();
        Matrix::dense(outputs, self.weight.len() / outputs)
    }

    /// `y = x weight^T`; the bias is left to the caller, who passes over the rows anyway.
    fn apply(&self, x: &[f32], y: &mut [f32]) {
        let weight = self.matrix();
        let count = x.len() / weight.columns;
        let (inputs, outputs) = (weight.columns, weight.rows);
        multiply(
            1.0,
            (x, Matrix::dense(count, inputs)),
            (self.weight, weight.turned()),
            (y, Matrix::dense(count, outputs)),
            Put::Over,
        );
    }

    /// Gradient of the input, from that of the output.
    fn back(&self, gradient: &[f32], of_x: &mut [f32]) {
        let weight = self.matrix();
        let count = gradient.len() / weight.rows;
        let (inputs, outputs) = (weight.columns, weight.rows);
        multiply(
            1.0,
            (gradient, Matrix::dense(count, outputs)),
            (self.weight, weight),
            (of_x, Matrix::dense(count, inputs)),
            Put::Over,
        );
    }
}

/// Sums of the gradients of a [`Map`]'s weight and bias.
struct MapSums<'a>(&'a mut [f32], &'a mut [f32]);

impl MapSums<'_> {
    /// Adds what rows `x` and the gradients of what became of them say.
    fn add(&mut self, x: &[f32], gradient: &[f32]) {
        let outputs = self.1.len();
        let (inputs, count) = (self.0.len() / outputs, gradient.len() / outputs);
        multiply(
            1.0,
            (gradient, Matrix::dense(count, outputs).turned()),
            (x, Matrix::dense(count, inputs)),
            (self.0, Matrix::dense(outputs, inputs)),
            Put::Onto,
        );
        for gradient in gradient.chunks_exact(outputs) {
            add(self.1, gradient);
        }
    }
}

/// Ends a half: `y = x + drop(y + bias)` of rows whose first number stands at `position`.
fn finish(x: &[f32], bias: &[f32], mask: Option<DropoutMask>, position: usize, y: &mut [f32]) {
    let d_model = bias.len();
    let places = (position..).step_by(d_model);
    for ((x, y), place) in x
        .chunks_exact(d_model)
        .zip(y.chunks_exact_mut(d_model))
        .zip(places)
    {
        add(y, bias);
        if let Some(mask) = mask {
            mask.apply(place, y);
        }
        add(y, x);
    }
}

/// Gradients behind a dropout, from those before it.
fn masked(gradient: &[f32], mask: Option<DropoutMask>, position: usize, out: &mut [f32]) {
    out.copy_from_slice(gradient);
    if let Some(mask) = mask {
        mask.apply(position, out);
    }
}

/// Memory that is used again: `length` floats of any value.
fn room(memory: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if memory.len() < length {
        memory.resize(length, 0.0);
    }
    &mut memory[..length]
}

/// Fills `output`, a image_len at a time, by `f(memory, image_len, its output, sums)`, and adds up what
/// the pieces leave in their `length` sums. Neighbors share sums in a fixed number of groups:
/// the order of additions never depends on the threads.
fn in_groups<Memory: Default>(
    output: &mut [f32],
    image_len: usize,
    length: usize,
    f: impl Fn(&mut Memory, usize, &mut [f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    const GROUPS: usize = 32;
    let each = output.len().div_ceil(image_len).div_ceil(GROUPS).max(1);
    let groups: Vec<Vec<f32>> = output
        .par_chunks_mut(each * image_len)
        .enumerate()
        .map_init(Memory::default, |memory, (group, output)| {
            let mut sums = vec![0.0; length];
            for (i, output) in output.chunks_mut(image_len).enumerate() {
                f(memory, group * each + i, output, &mut sums);
            }
            sums
        })
        .collect();
    total(&groups, length)
}

fn total(groups: &[Vec<f32>], length: usize) -> Vec<f32> {
    const CHUNK: usize = 4096;
    let mut total = vec![0.0; length];
    total
        .par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, total)| {
            for group in groups {
                add(total, &group[chunk * CHUNK..][..total.len()]);
            }
        });
    total
}
