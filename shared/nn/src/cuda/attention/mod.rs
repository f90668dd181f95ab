//! Attention by cuDNN: scores are never in memory.

mod graph;
mod problem;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

pub use graph::graph;
pub use problem::{Direction, Problem};

use self::problem::{
    GRADIENT, KEY, OF_KEY, OF_QUERY, OF_VALUE, ONE, QUERY, QUERY_SUMS, RESULT, SCALE, STATS, SUMS,
    VALUE, on_device, on_host,
};
use super::{
    Argument, MapType,
    cudnn::{Task, plan::NamedAddress, with_cudnn},
    feature_map::{address_of, alloc, tensor, tensor_address, typed_address, with_storages},
};
use crate::{ComputeOptions, ops::transformer::Attended};

/// Scaled dot-product attention of queries `[1,B,H,M,S]` to keys and values `[2,B,H,N,S]`, all bf16; nothing if cuDNN
/// has no plan for it.
pub fn attention(
    query: &Tensor,
    key_value: &Tensor,
    scale: f64,
    options: ComputeOptions,
) -> Result<Option<Attended>> {
    let problem = problem(Direction::Forward, query, key_value, options)?;
    let Problem {
        batch,
        heads,
        queries,
        size,
        ..
    } = problem;
    with_storages([query, key_value], |[query, key_value]| {
        let device = &query.0.device;
        let context = alloc(device, MapType::Bf16, batch * queries * heads * size)?;
        let stats = alloc(device, MapType::F32, batch * heads * queries)?;
        let scale = scale as f32;
        let [key, value] = keys_and_values(key_value, &problem)?;
        let operands = [
            on_device(QUERY, bf16_address(query)?),
            on_device(KEY, key),
            on_device(VALUE, value),
            on_device(RESULT, address_of(&context)?),
            on_device(STATS, address_of(&stats)?),
            on_host(SCALE, &scale),
        ];
        // SAFETY: the operands have the problem's sizes and types; the scale lives until the call is over.
        let has_run = with_cudnn(device, |cudnn| unsafe {
            cudnn.run(&Task::Attention(problem), &operands)
        })?;
        Ok(has_run.then(|| Attended {
            context: tensor(context, (batch, queries, heads * size)),
            stats: Some(tensor(stats, (batch, heads, queries))),
        }))
    })
}

/// The gradients of queries, and of keys and values, from that of the context `[B,M,H*S]`; nothing if cuDNN has no plan
/// for it, or where it must repeat to the bit: cuDNN adds up that of the queries in any order.
pub fn attention_backward(
    query: &Tensor,
    key_value: &Tensor,
    attended: &Attended,
    gradient: &Tensor,
    scale: f64,
    options: ComputeOptions,
) -> Result<Option<[Tensor; 2]>> {
    let Some(stats) = attended.stats.as_ref().filter(|_| !options.deterministic) else {
        return Ok(None);
    };
    let problem = problem(Direction::Gradient, query, key_value, options)?;
    let context = &attended.context;
    let Problem {
        batch,
        heads,
        queries,
        keys,
        size,
        ..
    } = problem;
    if gradient.dims() != context.dims() || stats.dims() != [batch, heads, queries] {
        bail!("gradients {gradient:?} of attention with {context:?} and {stats:?}")
    }
    let tensors = [query, key_value, context, gradient];
    with_storages(tensors, |[query, key_value, context, gradient]| {
        let device = &query.0.device;
        let (of_queries, of_keys) = (batch * heads * queries * size, batch * heads * keys * size);
        let of_query = alloc(device, MapType::Bf16, of_queries)?;
        let of_key_value = alloc(device, MapType::Bf16, 2 * of_keys)?;
        let sums = alloc(device, MapType::F32, batch * heads * queries)?;
        let query_sums = alloc(device, MapType::F32, of_queries)?;
        let (scale, one) = (scale as f32, 1.0);
        let [key, value] = keys_and_values(key_value, &problem)?;
        let of_key = address_of(&of_key_value)?;
        let operands: [NamedAddress; 13] = [
            on_device(QUERY, bf16_address(query)?),
            on_device(KEY, key),
            on_device(VALUE, value),
            on_device(RESULT, bf16_address(context)?),
            on_device(STATS, tensor_address(stats)?),
            on_device(GRADIENT, bf16_address(gradient)?),
            on_device(SUMS, address_of(&sums)?),
            on_device(QUERY_SUMS, address_of(&query_sums)?),
            on_device(OF_QUERY, address_of(&of_query)?),
            on_device(OF_KEY, of_key),
            on_device(OF_VALUE, of_key + (2 * of_keys) as u64),
            on_host(SCALE, &scale),
            on_host(ONE, &one),
        ];
        // SAFETY: the operands have the problem's sizes and types; the numbers live until the call is over.
        let has_run = with_cudnn(device, |cudnn| unsafe {
            cudnn.run(&Task::Attention(problem), &operands)
        })?;
        Ok(has_run.then(|| {
            [
                tensor(of_query, (1, batch, heads, queries, size)),
                tensor(of_key_value, (2, batch, heads, keys, size)),
            ]
        }))
    })
}

/// The problem of operands that fit together.
fn problem(
    direction: Direction,
    query: &Tensor,
    key_value: &Tensor,
    options: ComputeOptions,
) -> Result<Problem> {
    let (_, batch, heads, queries, size) = query.dims5()?;
    let keys = key_value.dim(3)?;
    if key_value.dims() != [2, batch, heads, keys, size] {
        bail!("queries {query:?} with keys and values {key_value:?}")
    }
    Ok(Problem {
        direction,
        batch,
        heads,
        queries,
        keys,
        size,
        options,
    })
}

/// The address of a contiguous bf16 tensor.
fn bf16_address((storage, layout): Argument) -> Result<u64> {
    match typed_address(storage, layout)? {
        (MapType::Bf16, address) => Ok(address),
        (other, _) => bail!("attention of {other:?}"),
    }
}

/// Addresses of keys and values, which lie behind each other.
fn keys_and_values(key_value: Argument, problem: &Problem) -> Result<[u64; 2]> {
    let key = bf16_address(key_value)?;
    let len = problem.batch * problem.heads * problem.keys * problem.size;
    Ok([key, key + (2 * len) as u64])
}
