//! An attention half of which only the first token, the class token, is wanted: the tokens of
//! images come in, one per image goes out. Only the class token asks, so no other token needs
//! a key or a value of its own: the query goes to the tokens through the keys' weights, and what
//! comes back goes through the values' weights once. The result is that of the whole half.
//!
//! With `n` the normed tokens, and for each head `q` its query and `K`, `V` its weights:
//! `softmax((n_j K^T + k) q)` is `softmax(n_j (K^T q))`, as `k q` is the same for every `j`; and
//! `sum p_j (V n_j + v)` is `V (sum p_j n_j) + v`.

use rayon::prelude::*;

use super::{
    super::{
        attend::AttentionShape,
        mask::DropoutMask,
        matrix::{Matrix, Put, multiply},
        rows::{add, add_scaled, dot, scale_by, slope_row, softmax_row},
    },
    Map, MapSums, Sublayer, SublayerShape, Weights, finish, in_groups, masked, room,
};

/// An attention half for the class token.
#[derive(Clone, Copy, Debug)]
pub struct ClsAttentionSublayer {
    /// Sizes; `raised` is three times `lowered`, which is `width`.
    pub sizes: SublayerShape,
    /// Tokens of an image, heads.
    pub heads: AttentionShape,
    /// Dropout of the class token's row.
    pub outer: Option<DropoutMask>,
}

/// Everything on the way from an image's tokens to its class token, and the slopes on the way
/// back.
#[derive(Default)]
struct Memory {
    normal: Vec<f32>,
    query: Vec<f32>,
    /// `[2 heads, tokens]`: the weights of the tokens, then the slopes of their scores.
    weights: Vec<f32>,
    /// `[2 heads, width]`: the slopes of the contexts, then what the heads ask the tokens.
    asked: Vec<f32>,
    /// `[heads, width]`: the weighted sum of the tokens.
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
    type Kept = ();

    fn forward(&self, x: &[f32], weights: &[f32], _keep: bool) -> (Vec<f32>, ()) {
        let width = self.sizes.width;
        let weights = self.sizes.weights(weights);
        let mut y = vec![0.0; x.len() / self.heads.tokens];
        y.par_chunks_exact_mut(width)
            .zip(x.par_chunks_exact(self.piece()))
            .enumerate()
            .for_each_init(Memory::default, |memory, (picture, (y, x))| {
                self.look(&weights, x, memory);
                weights.second.apply(&memory.mixed, y);
                finish(
                    &x[..width],
                    weights.second.bias,
                    self.outer,
                    picture * width,
                    y,
                );
            });
        (y, ())
    }

    fn gradient(
        &self,
        x: &[f32],
        weights: &[f32],
        _kept: &(),
        gradient: &[f32],
        wanted: bool,
    ) -> (Vec<f32>, Vec<f32>) {
        let (width, piece) = (self.sizes.width, self.piece());
        let weights = self.sizes.weights(weights);
        let length = if wanted { self.sizes.packed() } else { 0 };
        let mut of_x = vec![0.0; x.len()];
        let sums = in_groups(
            &mut of_x,
            piece,
            length,
            |memory: &mut Memory, picture, of_x, sums| {
                let mut sums = self.sizes.sums(sums);
                let x = &x[picture * piece..][..piece];
                let gradient = &gradient[picture * width..][..width];
                self.look(&weights, x, memory);
                let behind = room(&mut memory.masked, width);
                masked(gradient, self.outer, picture * width, behind);
                weights
                    .second
                    .back(behind, room(&mut memory.of_mixed, width));
                if let Some(sums) = &mut sums {
                    sums.second.add(&memory.mixed, behind);
                }
                self.look_back(&weights, memory, sums.as_mut().map(|sums| &mut sums.first));
                let of_norm = &mut sums.map(|sums| sums.norm);
                weights.norm.back(x, &memory.of_normal, of_x, of_norm);
                add(&mut of_x[..width], gradient);
            },
        );
        (of_x, sums)
    }
}

impl ClsAttentionSublayer {
    /// Numbers of an image.
    fn piece(&self) -> usize {
        self.heads.tokens * self.sizes.width
    }

    /// The parts of the first map that make queries, keys and values.
    fn maps<'a>(&self, first: Map<'a>) -> [Map<'a>; 3] {
        let width = self.sizes.width;
        [0, 1, 2].map(|part| {
            let weight = &first.weight[part * width * width..][..width * width];
            Map::new(weight, &first.bias[part * width..][..width])
        })
    }

    /// The rows of a head in a weight `[width, width]`.
    fn of_head(&self, head: usize) -> Matrix {
        let AttentionShape { size, .. } = self.heads;
        let width = self.sizes.width;
        Matrix::inside(width, head * size * width, size, width)
    }

    /// The columns of a head in a row of all heads.
    fn in_row(&self, head: usize) -> Matrix {
        Matrix::inside(self.sizes.width, head * self.heads.size, 1, self.heads.size)
    }

    /// One row of `[heads, width]`.
    fn row(&self, row: usize) -> Matrix {
        let width = self.sizes.width;
        Matrix::inside(width, row * width, 1, width)
    }

    /// From the tokens to the mixed row.
    fn look(&self, weights: &Weights, x: &[f32], memory: &mut Memory) {
        let AttentionShape { tokens, heads, .. } = self.heads;
        let width = self.sizes.width;
        let [queries, keys, values] = self.maps(weights.first);
        let normal = sized(&mut memory.normal, x.len());
        weights.norm.apply(x, normal);
        let query = sized(&mut memory.query, width);
        queries.apply(&normal[..width], query);
        add(query, queries.bias);

        let asked = sized(&mut memory.asked, 2 * heads * width);
        for head in 0..heads {
            let question = (&*query, self.in_row(head));
            let keys = (keys.weight, self.of_head(head));
            let asked = (&mut *asked, self.row(heads + head));
            multiply(self.heads.scale(), question, keys, asked, Put::Over);
        }
        let asked = (&asked[heads * width..], Matrix::dense(heads, width));
        let shares = &mut sized(&mut memory.weights, 2 * heads * tokens)[..heads * tokens];
        let (all, shape) = (Matrix::dense(tokens, width), Matrix::dense(heads, tokens));
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
        let context = sized(&mut memory.context, heads * width);
        let contexts = Matrix::dense(heads, width);
        multiply(
            1.0,
            (shares, shape),
            (normal, all),
            (context, contexts),
            Put::Over,
        );

        let mixed = sized(&mut memory.mixed, width);
        for head in 0..heads {
            let context = (&*context, self.row(head));
            let values = (values.weight, self.of_head(head).turned());
            multiply(1.0, context, values, (mixed, self.in_row(head)), Put::Over);
        }
        add(mixed, values.bias);
    }

    /// From the slopes of the mixed row to those of the normed tokens, after [`Self::look`].
    fn look_back(&self, weights: &Weights, memory: &mut Memory, sums: Option<&mut MapSums>) {
        let AttentionShape { tokens, heads, .. } = self.heads;
        let (width, scale) = (self.sizes.width, self.heads.scale());
        let [queries, keys, values] = self.maps(weights.first);
        let (normal, all) = (&memory.normal, Matrix::dense(tokens, width));
        let of_context = &mut memory.asked[..heads * width];
        for head in 0..heads {
            let slope = (memory.of_mixed.as_slice(), self.in_row(head));
            let values = (values.weight, self.of_head(head));
            multiply(1.0, slope, values, (of_context, self.row(head)), Put::Over);
        }

        let (shares, of_scores) = memory.weights.split_at_mut(heads * tokens);
        let (table, shape) = (Matrix::dense(heads, width), Matrix::dense(heads, tokens));
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
        let of_asked = sized(&mut memory.of_asked, heads * width);
        multiply(
            1.0,
            (of_scores, shape),
            (normal, all),
            (of_asked, table),
            Put::Over,
        );
        let of_query = sized(&mut memory.of_query, width);
        for head in 0..heads {
            let slope = (&*of_asked, self.row(head));
            let keys = (keys.weight, self.of_head(head).turned());
            multiply(scale, slope, keys, (of_query, self.in_row(head)), Put::Over);
        }

        if let Some(sums) = sums {
            let square = width * width;
            let [of_queries, of_keys, of_values] =
                [0, 1, 2].map(|part| part * square..(part + 1) * square);
            add_product(&mut sums.0[of_queries], of_query, &normal[..width]);
            add(&mut sums.1[..width], of_query);
            // The keys' bias has no gradient: it moves all scores alike.
            for head in 0..heads {
                let here = head * self.heads.size..(head + 1) * self.heads.size;
                let there = head * width..(head + 1) * width;
                let place = here.start * width..here.end * width;
                let (query, slope) = (&memory.query[here.clone()], &of_asked[there.clone()]);
                let of_keys = &mut sums.0[of_keys.clone()][place.clone()];
                let question: Vec<f32> = query.iter().map(|query| scale * query).collect();
                add_product(of_keys, &question, slope);
                let of_values = &mut sums.0[of_values.clone()][place];
                add_product(of_values, &memory.of_mixed[here], &memory.context[there]);
            }
            add(&mut sums.1[2 * width..], &memory.of_mixed);
        }

        let of_normal = sized(&mut memory.of_normal, tokens * width);
        // Both ways in which a token was used: in its head's sum, and in its score.
        let (used, by) = (
            Matrix::dense(2 * heads, tokens),
            Matrix::dense(2 * heads, width),
        );
        multiply(
            1.0,
            (&memory.weights, used.turned()),
            (&memory.asked, by),
            (of_normal, all),
            Put::Over,
        );
        let row = self.row(0);
        let weight = Matrix::dense(width, width);
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
