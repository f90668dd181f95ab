//! Attention as cuDNN operation graphs: the forward pass is one operation; the gradient is 18 operations, in the order
//! that cuDNN recognizes and computes as one kernel.

use candle_core::{
    Result,
    cuda_backend::cudarc::cudnn::sys::{
        cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
        cudnnPointwiseMode_t::{
            CUDNN_POINTWISE_EXP, CUDNN_POINTWISE_IDENTITY, CUDNN_POINTWISE_MUL, CUDNN_POINTWISE_SUB,
        },
    },
};

use super::{
    super::{
        MapType,
        cudnn::{
            composed::Composed,
            descriptor::Descriptor,
            engines::Target,
            graph::{OperationGraph, number, size, tensor},
        },
    },
    problem::{
        Direction, GRADIENT, KEY, OF_KEY, OF_QUERY, OF_VALUE, ONE, Problem, QUERY, QUERY_SUMS,
        RESULT, SCALE, STATS, SUMS, VALUE,
    },
};

/// The graph of a problem, for a handle's device or for no device yet.
pub fn graph(problem: &Problem, target: &Target) -> Result<OperationGraph> {
    let sizes = Sizes {
        batch: size(problem.batch)?,
        heads: size(problem.heads)?,
        queries: size(problem.queries)?,
        keys: size(problem.keys)?,
        width: size(problem.size)?,
    };
    match problem.direction {
        Direction::Forward => forward(&sizes, target),
        Direction::Gradient => gradient(&sizes, target),
    }
}

struct Sizes {
    batch: i64,
    heads: i64,
    queries: i64,
    keys: i64,
    width: i64,
}

/// Sizes and strides of a tensor.
type Shape = ([i64; 4], [i64; 4]);

impl Sizes {
    /// `[B,H,rows,columns]`, one row after the other.
    fn by_head(&self, rows: i64, columns: i64) -> Shape {
        let strides = [self.heads * rows * columns, rows * columns, columns, 1];
        ([self.batch, self.heads, rows, columns], strides)
    }

    /// `[B,M,H,S]` as `[B,H,M,S]`: as linear maps read and write it.
    fn by_token(&self) -> Shape {
        let (queries, row) = (self.queries, self.heads * self.width);
        let sizes = [self.batch, self.heads, queries, self.width];
        (sizes, [queries * row, self.width, row, 1])
    }
}

/// The same memory with each matrix transposed.
fn transposed(([batch, heads, rows, columns], [a, b, c, d]): Shape) -> Shape {
    ([batch, heads, columns, rows], [a, b, d, c])
}

fn bf16(id: i64, (sizes, strides): Shape) -> Result<Descriptor> {
    tensor(id, MapType::Bf16, sizes, strides)
}

fn f32(id: i64, (sizes, strides): Shape) -> Result<Descriptor> {
    tensor(id, MapType::F32, sizes, strides)
}

fn forward(sizes: &Sizes, target: &Target) -> Result<OperationGraph> {
    let of_keys = sizes.by_head(sizes.keys, sizes.width);
    let query = bf16(QUERY, sizes.by_head(sizes.queries, sizes.width))?;
    let (key, value) = (bf16(KEY, of_keys)?, bf16(VALUE, of_keys)?);
    let result = bf16(RESULT, sizes.by_token())?;
    let stats = f32(STATS, sizes.by_head(sizes.queries, 1))?;
    let scale = number(SCALE)?;
    let operation = Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, &query)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, &key)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, &value)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, &result)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, &stats)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, &scale)?
        .finalized()?;
    let parts = vec![query, key, value, result, stats, scale];
    OperationGraph::new(vec![operation], parts, target)
}

/// With scores `s`, probabilities `p = exp(scale * s - stats)` and the result's gradient `g`:
///
/// ```text
/// of_value = p^T g
/// of_scores = scale * p * (g value^T - sum(g * result))
/// of_key = of_scores^T query,  of_query = of_scores key
/// ```
fn gradient(sizes: &Sizes, target: &Target) -> Result<OperationGraph> {
    let of_queries = sizes.by_head(sizes.queries, sizes.width);
    let of_keys = sizes.by_head(sizes.keys, sizes.width);
    let one_each = sizes.by_head(sizes.queries, 1);
    let scores = sizes.by_head(sizes.queries, sizes.keys);

    let mut graph = Composed::default();
    let query = graph.operand(bf16(QUERY, of_queries)?);
    let key = graph.operand(bf16(KEY, transposed(of_keys))?);
    let value = graph.operand(bf16(VALUE, transposed(of_keys))?);
    let result = graph.operand(bf16(RESULT, sizes.by_token())?);
    let gradient = graph.operand(bf16(GRADIENT, sizes.by_token())?);
    let stats = graph.operand(f32(STATS, one_each)?);
    let sums = graph.operand(f32(SUMS, one_each)?);
    let query_sums = graph.operand(f32(QUERY_SUMS, of_queries)?);
    let of_query = graph.operand(bf16(OF_QUERY, of_queries)?);
    let of_key = graph.operand(bf16(OF_KEY, of_keys)?);
    let of_value = graph.operand(bf16(OF_VALUE, of_keys)?);
    let (scale, one) = (graph.operand(number(SCALE)?), graph.operand(number(ONE)?));
    let between = |graph: &mut Composed, map_type, (sizes, strides): Shape| {
        graph.intermediate(map_type, sizes, strides)
    };

    let products = between(&mut graph, MapType::F32, sizes.by_token())?;
    let unscaled_sums = between(&mut graph, MapType::F32, one_each)?;
    graph.pointwise(CUDNN_POINTWISE_MUL, gradient, Some(result), products)?;
    graph.sum(products, unscaled_sums)?;
    graph.pointwise(CUDNN_POINTWISE_MUL, unscaled_sums, Some(one), sums)?;

    let [product, scaled, shifted, p] = [(); 4].map(|()| between(&mut graph, MapType::F32, scores));
    let (product, scaled, shifted, p) = (product?, scaled?, shifted?, p?);
    let p_transposed = between(&mut graph, MapType::Bf16, transposed(scores))?;
    graph.matmul(query, key, product)?;
    graph.pointwise(CUDNN_POINTWISE_MUL, product, Some(scale), scaled)?;
    graph.pointwise(CUDNN_POINTWISE_SUB, scaled, Some(stats), shifted)?;
    graph.pointwise(CUDNN_POINTWISE_EXP, shifted, None, p)?;
    graph.reshape(p, p_transposed)?;
    graph.matmul(p_transposed, gradient, of_value)?;

    let [of_p, centered, of_softmax, of_scores] =
        [(); 4].map(|()| between(&mut graph, MapType::F32, scores));
    let (of_p, centered, of_softmax, of_scores) = (of_p?, centered?, of_softmax?, of_scores?);
    let of_scores_transposed = between(&mut graph, MapType::Bf16, transposed(scores))?;
    graph.matmul(gradient, value, of_p)?;
    graph.pointwise(CUDNN_POINTWISE_SUB, of_p, Some(sums), centered)?;
    graph.pointwise(CUDNN_POINTWISE_MUL, centered, Some(p), of_softmax)?;
    graph.pointwise(CUDNN_POINTWISE_MUL, of_softmax, Some(scale), of_scores)?;
    graph.reshape(of_scores, of_scores_transposed)?;
    graph.matmul(of_scores_transposed, query, of_key)?;

    let key_rows = between(&mut graph, MapType::Bf16, of_keys)?;
    graph.reshape(key, key_rows)?;
    graph.matmul(of_scores, key_rows, query_sums)?;
    graph.pointwise(CUDNN_POINTWISE_IDENTITY, query_sums, None, of_query)?;
    graph.graph(target)
}
