//! Attention by cuDNN: scores are never in memory.

mod graph;
mod problem;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

pub use graph::graph;
pub use problem::Problem;

use super::{
    MapType,
    cudnn::{Task, with_cudnn},
    feature_map::{address_of, alloc, tensor, typed_address, with_storages},
};
use crate::ComputeOptions;

/// Scaled dot-product attention of queries `[1,B,H,M,S]` to keys and values `[2,B,H,N,S]`, all bf16: `[B,M,H*S]`;
/// nothing if cuDNN has no plan for it.
pub fn attention(
    query: &Tensor,
    key_value: &Tensor,
    scale: f64,
    options: ComputeOptions,
) -> Result<Option<Tensor>> {
    let (_, batch, heads, queries, size) = query.dims5()?;
    let keys = key_value.dim(3)?;
    if key_value.dims() != [2, batch, heads, keys, size] {
        bail!("queries {query:?} with keys and values {key_value:?}")
    }
    let problem = Problem {
        batch,
        heads,
        queries,
        keys,
        size,
        options,
    };
    with_storages([query, key_value], |[query, key_value]| {
        let device = &query.0.device;
        let (query_type, query) = typed_address(query.0, query.1)?;
        let (key_type, key) = typed_address(key_value.0, key_value.1)?;
        if [query_type, key_type] != [MapType::Bf16; 2] {
            bail!("attention of {query_type:?} and {key_type:?}")
        }
        let result = alloc(device, MapType::Bf16, batch * queries * heads * size)?;
        let scale = scale as f32;
        let value = key + (2 * batch * heads * keys * size) as u64;
        let operands = problem::Operands {
            query,
            key,
            value,
            result: address_of(&result)?,
            scale: &scale,
        };
        // SAFETY: the operands have the problem's sizes, all are bf16; the scale lives until the call is over.
        let has_run = with_cudnn(device, |cudnn| unsafe {
            cudnn.run(&Task::Attention(problem), &operands.named())
        })?;
        Ok(has_run.then(|| tensor(result, (batch, queries, heads * size))))
    })
}
