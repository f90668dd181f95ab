//! Attention as a graph of one operation.

use candle_core::{
    Result,
    cuda_backend::cudarc::cudnn::sys::{
        cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
    },
};

use super::{
    super::{
        MapType,
        cudnn::{
            descriptor::Descriptor,
            engines::Target,
            graph::{OperationGraph, number, size, tensor},
        },
    },
    problem::{OPERAND_IDS, Problem},
};

/// The graph of a problem, for a handle's device or for no device yet.
pub fn graph(problem: &Problem, target: &Target) -> Result<OperationGraph> {
    let [batch, heads, queries, keys, width] = [
        problem.batch,
        problem.heads,
        problem.queries,
        problem.keys,
        problem.size,
    ]
    .map(size);
    let (batch, heads, queries, keys, width) = (batch?, heads?, queries?, keys?, width?);
    // [B,H,N,S], one image after the other.
    let by_head = |id, tokens| {
        let strides = [heads * tokens * width, tokens * width, width, 1];
        tensor(id, MapType::Bf16, [batch, heads, tokens, width], strides)
    };
    let [query_id, key_id, value_id, result_id, scale_id] = OPERAND_IDS;
    let query = by_head(query_id, queries)?;
    let (key, value) = (by_head(key_id, keys)?, by_head(value_id, keys)?);
    // [B,M,H,S], as the next linear map reads it.
    let strides = [queries * heads * width, width, heads * width, 1];
    let sizes = [batch, heads, queries, width];
    let result = tensor(result_id, MapType::Bf16, sizes, strides)?;
    let scale = number(scale_id)?;
    let operation = Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, &query)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, &key)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, &value)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, &result)?
        .with(Name::CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, &scale)?
        .finalized()?;
    OperationGraph::new(operation, vec![query, key, value, result, scale], target)
}
