//! Sums over the positions of feature maps, split among blocks; the sum of a bias's gradient.

use candle_core::{CudaStorage, Result, cuda_backend::CudaDevice};

use super::{
    MapType,
    feature_map::{self, address_of, alloc, map_type},
    module::{self, KernelArg, THREADS},
};

/// Threads that add up a channel's partial sums, as in `batch_norm.cu`.
const SUM_THREADS: usize = 32;
/// The most blocks that a channel's sum is split among.
const MAX_BLOCKS: usize = 1024;

/// A map's size, `[positions, channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Positions of all images.
    pub positions: usize,
    /// Channels with padding.
    pub channels: usize,
}

impl Size {
    /// Of a map.
    pub fn of(storage: &CudaStorage, channels: usize) -> Self {
        Self {
            positions: feature_map::len(storage) / channels,
            channels,
        }
    }

    /// Groups of eight channels.
    pub fn eights(self) -> usize {
        self.channels / 8
    }

    /// Eights of channels in all.
    pub fn len(self) -> usize {
        self.positions * self.eights()
    }
}

/// How a sum over positions is split among blocks.
pub struct BlockSplit {
    /// Threads across.
    pub wide: usize,
    /// Positions of a block.
    pub rows: usize,
    /// Blocks of a channel.
    pub blocks: usize,
    /// Blocks across and down, of the kernels that write partial sums.
    pub grid: [usize; 2],
}

impl BlockSplit {
    /// Of maps of this size.
    pub fn new(size: Size) -> Self {
        /// Rows of a thread, at least.
        const MIN_ROWS: usize = 16;
        let wide = size.eights().min(THREADS);
        let rows = (THREADS / wide * MIN_ROWS).max(size.positions.div_ceil(MAX_BLOCKS));
        let blocks = size.positions.div_ceil(rows);
        Self {
            wide,
            rows,
            blocks,
            grid: [blocks, size.eights().div_ceil(wide)],
        }
    }
}

/// Two sums of each channel over each block's rows, uninitialized.
pub fn partial_sums(device: &CudaDevice, size: Size, split: &BlockSplit) -> Result<CudaStorage> {
    alloc(device, MapType::F32, split.blocks * 2 * size.channels)
}

/// Blocks of a kernel that adds up partial sums.
pub fn sum_blocks(channels: usize) -> [usize; 2] {
    [channels.div_ceil(THREADS / SUM_THREADS), 1]
}

/// The sums over the positions of a map: a bias's gradient.
pub fn channel_sums(gradient: &CudaStorage, channels: usize) -> Result<CudaStorage> {
    let (device, suffix) = (&gradient.device, map_type(gradient)?.suffix());
    let size = Size::of(gradient, channels);
    let split = BlockSplit::new(size);
    let partial = partial_sums(device, size, &split)?;
    let arguments = [
        KernelArg::Address(address_of(gradient)?),
        KernelArg::int(size.positions)?,
        KernelArg::int(split.rows)?,
        KernelArg::int(size.eights())?,
        KernelArg::int(split.wide)?,
        KernelArg::Address(address_of(&partial)?),
    ];
    let name = format!("sum_channels_{suffix}");
    // SAFETY: the maps are of the size; `partial` has two values for each block and channel.
    unsafe { module::launch(device, &name, split.grid, &arguments) }?;
    let grad_bias = alloc(device, MapType::F32, channels)?;
    let arguments = [
        KernelArg::Address(address_of(&partial)?),
        KernelArg::int(split.blocks)?,
        KernelArg::int(channels)?,
        KernelArg::Address(address_of(&grad_bias)?),
    ];
    // SAFETY: all are of the sizes above.
    unsafe { module::launch(device, "finish_channels", sum_blocks(channels), &arguments) }?;
    Ok(grad_bias)
}
