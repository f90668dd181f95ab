//! Row-wise operations of Transformers on contiguous tensors, outside autograd. Operands and results of matrix products
//! are f32 or bf16; everything else, parameters and sums included, is f32, and so is the arithmetic.

mod elements;
mod heads;
mod sums;

use candle_core::{Result, Tensor, bail};

pub use elements::{add_bias, gelu_dropout, gelu_dropout_backward, residual_dropout};
pub use heads::{embed, merge_heads, split_heads};
pub use sums::{
    column_sums, layer_norm, layer_norm_backward, layer_norm_f32, softmax, softmax_backward,
};

use super::{Argument, MapType, feature_map::typed_address, module::THREADS};
use crate::DropoutMask;

/// Threads of a warp, which computes a row.
const WARP: usize = 32;
/// Key, threshold and factor of a mask; without one nothing is dropped.
fn mask_parts(mask: Option<DropoutMask>) -> (u64, u32, f32) {
    mask.map_or((0, 0, 1.0), |mask| {
        (mask.key(), mask.threshold(), mask.scale())
    })
}

/// Blocks of a kernel with a warp for each row.
fn row_blocks(rows: usize) -> [usize; 2] {
    [rows.div_ceil(THREADS / WARP), 1]
}

/// Rows and width of `[…,width]`.
fn matrix(x: &Tensor) -> Result<(usize, usize)> {
    let width = x.dim(candle_core::D::Minus1)?;
    Ok((x.elem_count() / width.max(1), width))
}

/// Addresses of contiguous tensors of one element type.
fn same_type<const N: usize>(arguments: [Argument; N]) -> Result<(MapType, [u64; N])> {
    let mut addresses = [0; N];
    let mut types = [MapType::F32; N];
    for (i, (storage, layout)) in arguments.into_iter().enumerate() {
        (types[i], addresses[i]) = typed_address(storage, layout)?;
    }
    if types.iter().any(|map_type| *map_type != types[0]) {
        bail!("tensors of element types {types:?}")
    }
    Ok((types[0], addresses))
}
