//! Row-wise operations of Transformers on contiguous tensors, without a graph. What products are made of and give is
//! f32 or bf16; the rest, parameters and sums among them, is f32. Computed is in f32.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    Argument, MapType,
    batch_norm::sum_blocks,
    feature_map::{address_of, alloc, f32_address, tensor, typed_address, with_storages},
    module::{self, KernelArg, THREADS},
};
use crate::{ComputeOptions, DropoutMask};

/// Threads of a warp, which computes a row.
const WARP: usize = 32;
/// The most blocks that a column's sum is split among.
const MAX_BLOCKS: usize = 1024;
/// Rows of a block's sum, at least.
const MIN_ROWS: usize = 16;

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

/// Layer norm of the last dimension of f32, as a factor of a product.
pub fn layer_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    options: ComputeOptions,
) -> Result<Tensor> {
    let ((rows, width), map_type) = (matrix(x)?, MapType::of(options));
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
        Ok(tensor(y, x.shape()))
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
        let name = format!("softmax_{}", map_type.suffix());
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
        let name = format!("softmax_backward_{}", map_type.suffix());
        // SAFETY: both have so many rows.
        unsafe { module::launch(device, &name, row_blocks(rows), &arguments) }
    })
}

/// `x + bias`, f32.
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<CudaStorage> {
    let (rows, width) = matrix(x)?;
    with_storages([x, bias], |[(x, layout), bias]| {
        let (device, len) = (&x.device, rows * width);
        if bias.1.shape().elem_count() != width {
            bail!("{:?} and a bias {:?}", layout.shape(), bias.1.shape())
        }
        let y = alloc(device, MapType::F32, len)?;
        let (map_type, x) = typed_address(x, layout)?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("add_bias_{}", map_type.suffix());
        // SAFETY: x and y are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(y)
    })
}

/// `drop(gelu(x + bias))`.
pub fn gelu_dropout(x: &Tensor, bias: &Tensor, mask: Option<DropoutMask>) -> Result<Tensor> {
    let ((rows, width), (key, threshold, kept)) = (matrix(x)?, mask_parts(mask));
    with_storages([x, bias], |[of_x, bias]| {
        let (device, len) = (&of_x.0.device, rows * width);
        let (map_type, address) = typed_address(of_x.0, of_x.1)?;
        let y = alloc(device, map_type, len)?;
        let arguments = [
            KernelArg::Address(address),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Bits(key),
            KernelArg::Bits32(threshold),
            KernelArg::Float(kept),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("gelu_dropout_{}", map_type.suffix());
        // SAFETY: x and y are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(tensor(y, x.shape()))
    })
}

/// The gradient of `x` in [`gelu_dropout`], in place of that of its result.
pub fn gelu_dropout_backward(
    x: &Tensor,
    bias: &Tensor,
    mask: Option<DropoutMask>,
    gradient: &Tensor,
) -> Result<()> {
    let ((rows, width), (key, threshold, kept)) = (matrix(x)?, mask_parts(mask));
    with_storages([x, bias, gradient], |[x, bias, gradient]| {
        let (device, len) = (&x.0.device, rows * width);
        let (map_type, [x, gradient]) = same_type([x, gradient])?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Bits(key),
            KernelArg::Bits32(threshold),
            KernelArg::Float(kept),
            KernelArg::Address(gradient),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("gelu_dropout_backward_{}", map_type.suffix());
        // SAFETY: x and the gradient are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }
    })
}

/// `residual + drop(x + bias)`, where the residual and the result are f32.
pub fn residual_dropout(
    residual: &Tensor,
    x: &Tensor,
    bias: &Tensor,
    mask: Option<DropoutMask>,
) -> Result<CudaStorage> {
    let ((rows, width), (key, threshold, kept)) = (matrix(x)?, mask_parts(mask));
    with_storages([residual, x, bias], |[residual, x, bias]| {
        let (device, len) = (&x.0.device, rows * width);
        let y = alloc(device, MapType::F32, len)?;
        let (map_type, x) = typed_address(x.0, x.1)?;
        let arguments = [
            KernelArg::Address(f32_address(residual.0, residual.1)?),
            KernelArg::Address(x),
            KernelArg::Address(f32_address(bias.0, bias.1)?),
            KernelArg::Bits(key),
            KernelArg::Bits32(threshold),
            KernelArg::Float(kept),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(width)?,
            KernelArg::long(len)?,
        ];
        let name = format!("residual_dropout_{}", map_type.suffix());
        // SAFETY: all but bias, which has a number for each column, are of one size.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(y)
    })
}

/// `[B,N,P*H*S]` plus `bias` `[P*H*S]`, if there is one, as `[P,B,H,N,S]`.
pub fn split_heads(
    x: &Tensor,
    bias: Option<&Tensor>,
    [parts, heads]: [usize; 2],
) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    let (size, len) = (width / (parts * heads), x.elem_count());
    with_storages([x, bias.unwrap_or(x)], |[x, of_bias]| {
        let device = &x.0.device;
        let (map_type, x) = typed_address(x.0, x.1)?;
        let y = alloc(device, map_type, len)?;
        let bias = bias.map_or(Ok(0), |_| f32_address(of_bias.0, of_bias.1))?;
        let arguments = [
            KernelArg::Address(x),
            KernelArg::Address(bias),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(parts)?,
            KernelArg::int(heads)?,
            KernelArg::int(tokens)?,
            KernelArg::int(size)?,
            KernelArg::long(len)?,
        ];
        let name = format!("split_heads_{}", map_type.suffix());
        // SAFETY: x and y are of one size, bias has a number for each column.
        unsafe { module::for_each(device, &name, len, &arguments) }?;
        Ok(tensor(y, &[parts, batch, heads, tokens, size][..]))
    })
}

/// `[P,B,H,N,S]` as `[B,N,P*H*S]`.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (parts, batch, heads, tokens, size) = x.dims5()?;
    let len = x.elem_count();
    with_storages([x], |[(x, layout)]| {
        let (map_type, address) = typed_address(x, layout)?;
        let y = alloc(&x.device, map_type, len)?;
        let arguments = [
            KernelArg::Address(address),
            KernelArg::Address(address_of(&y)?),
            KernelArg::int(parts)?,
            KernelArg::int(heads)?,
            KernelArg::int(tokens)?,
            KernelArg::int(size)?,
            KernelArg::long(len)?,
        ];
        let name = format!("merge_heads_{}", map_type.suffix());
        // SAFETY: both are of one size.
        unsafe { module::for_each(&x.device, &name, len, &arguments) }?;
        Ok(tensor(y, (batch, tokens, parts * heads * size)))
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

/// `class` `[1,1,D]` and then the tokens `x` `[B,N,D]`, plus `positions` `[1,N+1,D]`, with dropout: `[B,N+1,D]`.
pub fn embed(
    x: Argument,
    class: Argument,
    positions: Argument,
    mask: Option<DropoutMask>,
) -> Result<CudaStorage> {
    let (device, width) = (&x.0.device, class.1.shape().elem_count());
    let image_len = positions.1.shape().elem_count();
    let len = x.1.shape().elem_count() / (image_len - width) * image_len;
    let (key, threshold, kept) = mask_parts(mask);
    let y = alloc(device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(f32_address(x.0, x.1)?),
        KernelArg::Address(f32_address(class.0, class.1)?),
        KernelArg::Address(f32_address(positions.0, positions.1)?),
        KernelArg::Bits(key),
        KernelArg::Bits32(threshold),
        KernelArg::Float(kept),
        KernelArg::Address(address_of(&y)?),
        KernelArg::int(width)?,
        KernelArg::int(image_len)?,
        KernelArg::long(len)?,
    ];
    // SAFETY: x has `image_len - width` numbers for each image, y has `image_len`, as have the positions.
    unsafe { module::for_each(device, "embed", len, &arguments) }?;
    Ok(y)
}
