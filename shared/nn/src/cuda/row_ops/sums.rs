//! Operations with a sum over each row, or over each column: layer norm, softmax, and column sums.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    super::{
        MapType,
        channel_sums::sum_blocks,
        feature_map::{address_of, alloc, f32_address, tensor, typed_address, with_storages},
        module::{self, KernelArg, THREADS},
    },
    matrix, row_blocks, same_type,
};
use crate::ComputeOptions;

/// The most blocks that a column's sum is split among.
const MAX_BLOCKS: usize = 1024;
/// Rows of a block's sum, at least.
const MIN_ROWS: usize = 16;

/// Layer norm of the last dimension of f32, as a factor of a product.
pub fn layer_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    options: ComputeOptions,
) -> Result<Tensor> {
    let y = layer_norm_to(MapType::of(options), x, [gamma, beta], eps)?;
    Ok(tensor(y, x.shape()))
}

/// Layer norm of the last dimension, f32.
pub fn layer_norm_f32(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<CudaStorage> {
    layer_norm_to(MapType::F32, x, [gamma, beta], eps)
}

fn layer_norm_to(
    map_type: MapType,
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    eps: f64,
) -> Result<CudaStorage> {
    let (rows, width) = matrix(x)?;
    if [gamma, beta].map(Tensor::elem_count) != [width; 2] {
        bail!("layer norm of {x:?} with {gamma:?} and {beta:?}")
    }
    with_storages([x, gamma, beta], |[of_x, gamma, beta]| {
        let device = &of_x.0.device;
        let y = alloc(device, map_type, rows * width)?;
        let arguments = [
            KernelArg::Address(f32_address(of_x.0, of_x.1)?),
            KernelArg::Address(f32_address(gamma.0, gamma.1)?),
            KernelArg::Address(f32_address(beta.0, beta.1)?),
            KernelArg::Float(eps as f32),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(rows)?,
        ];
        let name = format!("layer_norm_{}", map_type.suffix());
        // SAFETY: x and y are of one size, the others have a number for each column.
        unsafe { module::launch(device, &name, row_blocks(rows), &arguments) }?;
        Ok(y)
    })
}

/// The gradient of layer norm's input, and its normalized input, whose products with the gradient are summed for
/// gamma's; f32 both.
pub fn layer_norm_backward(
    x: &Tensor,
    gamma: &Tensor,
    eps: f64,
    gradient: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = matrix(x)?;
    with_storages([x, gamma, gradient], |[of_x, gamma, gradient]| {
        let device = &of_x.0.device;
        let grad_x = alloc(device, MapType::F32, rows * width)?;
        let normalized = alloc(device, MapType::F32, rows * width)?;
        let (map_type, gradient) = typed_address(gradient.0, gradient.1)?;
        let arguments = [
            KernelArg::Address(f32_address(of_x.0, of_x.1)?),
            KernelArg::Address(f32_address(gamma.0, gamma.1)?),
            KernelArg::Address(gradient),
            KernelArg::Float(eps as f32),
            KernelArg::Address(address_of(&grad_x)?),
            KernelArg::Address(address_of(&normalized)?),
            KernelArg::int(width)?,
            KernelArg::long(rows)?,
        ];
        let name = format!("layer_norm_backward_{}", map_type.suffix());
        // SAFETY: all but gamma, which has a number for each column, are of one size.
        unsafe { module::launch(device, &name, row_blocks(rows), &arguments) }?;
        Ok((tensor(grad_x, x.shape()), tensor(normalized, x.shape())))
    })
}

/// The softmax of `scale * x` over the last dimension, in place of `x`.
pub fn softmax(x: &Tensor, scale: f64) -> Result<()> {
    let (rows, width) = matrix(x)?;
    with_storages([x], |[(x, layout)]| {
        let (map_type, address) = typed_address(x, layout)?;
        let arguments = [
            KernelArg::Address(address),
            KernelArg::Float(scale as f32),
            KernelArg::int(width)?,
            KernelArg::long(rows)?,
        ];
        let name = format!("scaled_softmax_{}", map_type.suffix());
        // SAFETY: x has so many rows.
        unsafe { module::launch(&x.device, &name, row_blocks(rows), &arguments) }
    })
}

/// The gradient of softmax's `x` from that of its result `y`, in place of `gradient`.
pub fn softmax_backward(y: &Tensor, gradient: &Tensor, scale: f64) -> Result<()> {
    let (rows, width) = matrix(y)?;
    with_storages([y, gradient], |[y, gradient]| {
        let device = &y.0.device;
        let (map_type, [y, gradient]) = same_type([y, gradient])?;
        let arguments = [
            KernelArg::Address(y),
            KernelArg::Address(gradient),
            KernelArg::Float(scale as f32),
            KernelArg::int(width)?,
            KernelArg::long(rows)?,
        ];
        let name = format!("scaled_softmax_backward_{}", map_type.suffix());
        // SAFETY: both have so many rows.
        unsafe { module::launch(device, &name, row_blocks(rows), &arguments) }
    })
}

/// The sums over all rows of `x`, and of its products with `factor` (f32), if there is one; f32.
pub fn column_sums(x: &Tensor, factor: Option<&Tensor>) -> Result<(Tensor, Option<Tensor>)> {
    let (rows, width) = matrix(x)?;
    let block_rows = MIN_ROWS.max(rows.div_ceil(MAX_BLOCKS));
    let blocks = rows.div_ceil(block_rows);
    with_storages([x, factor.unwrap_or(x)], |[x, of_factor]| {
        let device = &x.0.device;
        let partial = alloc(device, MapType::F32, blocks * 2 * width)?;
        let by = factor.map_or(Ok(0), |_| f32_address(of_factor.0, of_factor.1))?;
        let (map_type, x) = typed_address(x.0, x.1)?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(by),
            KernelArg::int(block_rows)?,
            KernelArg::int(width)?,
            KernelArg::long(rows)?,
            KernelArg::Address(address_of(&partial)?),
        ];
        let grid = [blocks, width.div_ceil(THREADS)];
        let name = format!("sum_columns_{}", map_type.suffix());
        // SAFETY: both have so many rows; `partial` has two values for each block and column.
        unsafe { module::launch(device, &name, grid, &arguments) }?;
        let sums = alloc(device, MapType::F32, width)?;
        let products = factor.map(|_| alloc(device, MapType::F32, width));
        let products = products.transpose()?;
        let of_products = products.as_ref().map_or(Ok(0), address_of)?;
        let arguments = [
            KernelArg::Address(address_of(&partial)?),
            KernelArg::int(blocks)?,
            KernelArg::int(width)?,
            KernelArg::Address(address_of(&sums)?),
            KernelArg::Address(of_products),
        ];
        // SAFETY: all are of the sizes above.
        unsafe { module::launch(device, "finish_columns", sum_blocks(width), &arguments) }?;
        Ok((
            tensor(sums, width),
            products.map(|products| tensor(products, width)),
        ))
    })
}
