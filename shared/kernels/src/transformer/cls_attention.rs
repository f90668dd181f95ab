//! An attention half of which only the first token, the class token, is with_weights: the tokens of
//! images come in, one per image goes out. Only the class token asks, so no other token needs
//! a key or a value of its own: the query goes to the tokens through the keys' weights, and what
//! comes back goes through the values' weights once. The result is that of the whole half.
//!
//! With `n` the normed tokens, and for each head `q` its query and `K`, `V` its weights:
//! `softmax((n_j K^T + k) q)` is `softmax(n_j (K^T q))`, as `k q` is the same for every `j`; and
//! `sum p_j (V n_j + v)` is `V (sum p_j n_j) + v`.

use rayon::prelude::*;

use super::{Map, MapSums, Sublayer, SublayerShape, Weights, finish, in_groups, masked, room};
use crate::{
    attention::AttentionShape,
    dropout::DropoutMask,
    gemm::{Matrix, Put, multiply},
    row_ops::{add, add_scaled, dot, scale_by, slope_row, softmax_row},
};

/// An attention half for the class token.
#[derive(Clone, Copy, Debug)]
pub struct ClsAttentionSublayer {
    /// Sizes; `hidden_dim` is three times `inner_dim`, which is `d_model`.
    pub shape: SublayerShape,
    /// Tokens of an image, heads.
    pub attention: AttentionShape,
    /// Dropout of the class token's row.
    pub dropout: Option<DropoutMask>,
}

/// Everything on the way from an image's tokens to its class token, and the slopes on the way
/// back.
#[derive(Default)]
struct Memory {
    normal: Vec<f32>,
    query: Vec<f32>,
    /// `[2 heads, tokens]`: the weights of the tokens, then the slopes of their scores.
    weights: Vec<f32>,
    /// `[2 heads, d_model]`: the slopes of the contexts, then what the heads ask the tokens.
    asked: Vec<f32>,
    /// `[heads, d_model]`: the weighted sum of the tokens.
    context: Vec<f32>,
    mixed: Vec<f32>,
    masked: Vec<f32>,
    of_mixed: Vec<f32>,
    of_asked: Vec<f32>,
    of_query: Vec<f32>,
    of_normal: Vec<f32>,
}

impl Sublayer for ClsAttentionSublayer {
    /// Nothing: it is quickly computed again.
    type Saved = ();

    fn forward(&self, x: &[f32], weights: &[f32], _keep: bool) -> (Vec<f32>, ()) {
        let d_model = self.shape.d_model;
        let weights = self.shape.weights(weights);
        let mut y = vec![0.0; x.len() / self.attention.tokens];
        y.par_chunks_exact_mut(d_model)
            .zip(x.par_chunks_exact(self.image_len()))
            .enumerate()
            .for_each_init(Memory::default, |memory, (image, (y, x))| {
                self.look(&weights, x, memory);
                weights.second.apply(&memory.mixed, y);
                finish(
                    &x[..d_model],
                    weights.second.bias,
                    self.dropout,
                    image * d_model,
                    y,
                );
            });
        (y, ())
    }

    fn backward(
        &self,
        x: &[f32],
        weights: &[f32],
        _kept: &(),
        gradient: &[f32],
        with_weights: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let (d_model, image_len) = (self.shape.d_model, self.image_len());
        let weights = self.shape.weights(weights);
        let length = if with_weights {
            self.shape.packed_len()
        } else {
            0
        };
        let mut of_x = vec![0.0; x.len()];
        let sums = in_groups(
            &mut of_x,
            image_len,
            length,
            |memory: &mut Memory, image, of_x, sums| {
                let mut sums = self.shape.sums(sums);
                let x = &x[image * image_len..][..image_len];
                let gradient = &gradient[image * d_model..][..d_model];
                self.look(&weights, x, memory);
                let behind = room(&mut memory.masked, d_model);
                masked(gradient, self.dropout, image * d_model, behind);
                weights
                    .second
                    .back(behind, room(&mut memory.of_mixed, d_model));
                if let Some(sums) = &mut sums {
                    sums.second.add(&memory.mixed, behind);
                }
                self.look_back(&weights, memory, sums.as_mut().map(|sums| &mut sums.first));
                let of_norm = &mut sums.map(|sums| sums.norm);
                weights.norm.back(x, &memory.of_normal, of_x, of_norm);
                add(&mut of_x[..d_model], gradient);
            },
        );
        (of_x, sums)
    }
}

impl ClsAttentionSublayer {
    /// Numbers of an image.
    fn image_len(&self) -> usize {
        self.attention.tokens * self.shape.d_model
    }

    /// The parts of the first map that make queries, keys and values.
    fn maps<'a>(&self, first: Map<'a>) -> [Map<'a>; 3] {
        let d_model = self.shape.d_model;
        [0, 1, 2].map(|part| {
            let weight = &first.weight[part * d_model * d_model..][..d_model * d_model];
            Map::new(weight, &first.bias[part * d_model..][..d_model])
        })
    }

    /// The rows of a head in a weight `[d_model, d_model]`.
    fn of_head(&self, head: usize) -> Matrix {
        let AttentionShape { head_dim, .. } = self.attention;
        let d_model = self.shape.d_model;
        Matrix::inside(d_model, head * head_dim * d_model, head_dim, d_model)
    }

    /// The columns of a head in a row of all heads.
    fn in_row(&self, head: usize) -> Matrix {
        Matrix::inside(
            self.shape.d_model,
            head * self.attention.head_dim,
            1,
            self.attention.head_dim,
        )
    }

    /// One row of `[heads, d_model]`.
    fn row(&self, row: usize) -> Matrix {
        let d_model = self.shape.d_model;
        Matrix::inside(d_model, row * d_model, 1, d_model)
    }

    /// From the tokens to the mixed row.
    fn look(&self, weights: &Weights, x: &[f32], memory: &mut Memory) {
        let AttentionShape { tokens, heads, .. } = self.attention;
        let d_model = self.shape.d_model;
        let [queries, keys, values] = self.maps(weights.first);
        let normal = sized(&mut memory.normal, x.len());
        weights.norm.apply(x, normal);
        let query = sized(&mut memory.query, d_model);
        queries.apply(&normal[..d_model], query);
        add(query, queries.bias);

        let asked = sized(&mut memory.asked, 2 * heads * d_model);
        for head in 0..heads {
            let question = (&*query, self.in_row(head));
            let keys = (keys.weight, self.of_head(head));
            let asked = (&mut *asked, self.row(heads + head));
            multiply(self.attention.scale(), question, keys, asked, Put::Over);
        }
        let asked = (&asked[heads * d_model..], Matrix::dense(heads, d_model));
        let shares = &mut sized(&mut memory.weights, 2 * heads * tokens)[..heads * tokens];
        let (all, shape) = (Matrix::dense(tokens, d_model), Matrix::dense(heads, tokens));
        multiply(
            1.0,
            asked,
            (normal, all.turned()),
            (shares, shape),
            Put::Over,
        );
        for row in shares.chunks_exact_mut(tokens) {
            let (_, sum) = softmax_row(row);
            scale_by(row, 1.0 / sum);
        }
        let context = sized(&mut memory.context, heads * d_model);
        let contexts = Matrix::dense(heads, d_model);
        multiply(
            1.0,
            (shares, shape),
            (normal, all),
            (context, contexts),
            Put::Over,
        );

        let mixed = sized(&mut memory.mixed, d_model);
        for head in 0..heads {
            let context = (&*context, self.row(head));
            let values = (values.weight, self.of_head(head).turned());
            multiply(1.0, context, values, (mixed, self.in_row(head)), Put::Over);
        }
        add(mixed, values.bias);
    }

    /// From the slopes of the mixed row to those of the normed tokens, after [`Self::look`].
    fn look_back(&self, weights: &Weights, memory: &mut Memory, sums: Option<&mut MapSums>) {
        let AttentionShape { tokens, heads, .. } = self.attention;
        let (d_model, scale) = (self.shape.d_model, self.attention.scale());
        let [queries, keys, values] = self.maps(weights.first);
        let (normal, all) = (&memory.normal, Matrix::dense(tokens, d_model));
        let of_context = &mut memory.asked[..heads * d_model];
        for head in 0..heads {
            let slope = (memory.of_mixed.as_slice(), self.in_row(head));
            let values = (values.weight, self.of_head(head));
            multiply(1.0, slope, values, (of_context, self.row(head)), Put::Over);
        }

        let (shares, of_scores) = memory.weights.split_at_mut(heads * tokens);
        let (table, shape) = (Matrix::dense(heads, d_model), Matrix::dense(heads, tokens));
        multiply(
            1.0,
            (of_context, table),
            (normal, all.turned()),
            (of_scores, shape),
            Put::Over,
        );
        let rows = shares
            .chunks_exact(tokens)
            .zip(of_scores.chunks_exact_mut(tokens));
        for (shares, slopes) in rows {
            slope_row(shares, dot(shares, slopes), slopes);
        }
        let of_asked = sized(&mut memory.of_asked, heads * d_model);
        multiply(
            1.0,
            (of_scores, shape),
            (normal, all),
            (of_asked, table),
            Put::Over,
        );
        let of_query = sized(&mut memory.of_query, d_model);
        for head in 0..heads {
            let slope = (&*of_asked, self.row(head));
            let keys = (keys.weight, self.of_head(head).turned());
            multiply(scale, slope, keys, (of_query, self.in_row(head)), Put::Over);
        }

        if let Some(sums) = sums {
            let square = d_model * d_model;
            let [of_queries, of_keys, of_values] =
                [0, 1, 2].map(|part| part * square..(part + 1) * square);
            add_product(&mut sums.0[of_queries], of_query, &normal[..d_model]);
            add(&mut sums.1[..d_model], of_query);
            // The keys' bias has no gradient: it moves all scores alike.
            for head in 0..heads {
                let here = head * self.attention.head_dim..(head + 1) * self.attention.head_dim;
                let there = head * d_model..(head + 1) * d_model;
                let place = here.start * d_model..here.end * d_model;
                let (query, slope) = (&memory.query[here.clone()], &of_asked[there.clone()]);
                let of_keys = &mut sums.0[of_keys.clone()][place.clone()];
                let question: Vec<f32> = query.iter().map(|query| scale * query).collect();
                add_product(of_keys, &question, slope);
                let of_values = &mut sums.0[of_values.clone()][place];
                add_product(of_values, &memory.of_mixed[here], &memory.context[there]);
            }
            add(&mut sums.1[2 * d_model..], &memory.of_mixed);
        }

        let of_normal = sized(&mut memory.of_normal, tokens * d_model);
        // Both ways in which a token was used: in its head's sum, and in its score.
        let (used, by) = (
            Matrix::dense(2 * heads, tokens),
            Matrix::dense(2 * heads, d_model),
        );
        multiply(
            1.0,
            (&memory.weights, used.turned()),
            (&memory.asked, by),
            (of_normal, all),
            Put::Over,
        );
        let row = self.row(0);
        let weight = Matrix::dense(d_model, d_model);
        multiply(
            1.0,
            (of_query, row),
            (queries.weight, weight),
            (of_normal, row),
            Put::Onto,
        );
    }
}

/// `sums += column row`.
fn add_product(sums: &mut [f32], column: &[f32], row: &[f32]) {
    for (sums, factor) in sums.chunks_exact_mut(row.len()).zip(column) {
        add_scaled(sums, *factor, row);
    }
}

/// Memory that is used again, of exactly this length.
fn sized(memory: &mut Vec<f32>, length: usize) -> &mut [f32] {
    memory.resize(length, 0.0);
    memory
}
