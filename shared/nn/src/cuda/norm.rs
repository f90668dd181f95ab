//! Batch normalization on the device: maps and a few numbers per channel come in, maps and sums go
//! out. Numbers per channel are f32, as many as channels are stored.

use candle_core::{CudaStorage, Result, cuda_backend::CudaDevice};

use super::{
    Kind,
    kernels::{self, Argument, THREADS},
    map::{self, at, kind, maybe, room},
};

/// Threads that add up a channel's partial sums, as in `normalize.cu`.
const ADDERS: usize = 32;
/// The most blocks that a channel's sum is split among.
const BLOCKS: usize = 1024;

/// Numbers per channel before normalization.
pub struct Moments {
    /// Mean.
    pub mean: CudaStorage,
    /// Biased variance.
    pub variance: CudaStorage,
    /// 1 / sqrt(variance + eps).
    pub inverse: CudaStorage,
}

/// A map's size as the kernels see it.
#[derive(Clone, Copy, Debug)]
struct Size {
    positions: usize,
    channels: usize,
}

impl Size {
    fn of(storage: &CudaStorage, channels: usize) -> Self {
        Self {
            positions: map::len(storage) / channels,
            channels,
        }
    }

    fn eights(self) -> usize {
        self.channels / 8
    }

    /// Eights of channels in all.
    fn len(self) -> usize {
        self.positions * self.eights()
    }
}

/// How a sum over positions is split among blocks.
struct Split {
    wide: usize,
    rows: usize,
    blocks: usize,
}

impl Split {
    fn new(size: Size) -> Self {
        /// Rows of a thread, at least.
        const DEPTH: usize = 16;
        let wide = size.eights().min(THREADS);
        let rows = (THREADS / wide * DEPTH).max(size.positions.div_ceil(BLOCKS));
        Self {
            wide,
            rows,
            blocks: size.positions.div_ceil(rows),
        }
    }
}

/// Two sums of each channel over each block's rows: those that kernel `name` makes of the maps.
fn partial_sums(
    device: &CudaDevice,
    name: &str,
    size: Size,
    maps: &[&CudaStorage],
) -> Result<(CudaStorage, usize)> {
    let Split { wide, rows, blocks } = Split::new(size);
    let partial = room(device, Kind::F32, blocks * 2 * size.channels)?;
    let mut arguments = Vec::with_capacity(maps.len() + 5);
    for map in maps {
        arguments.push(Argument::At(at(map)?));
    }
    arguments.extend([
        Argument::int(size.positions)?,
        Argument::int(rows)?,
        Argument::int(size.eights())?,
        Argument::int(wide)?,
        Argument::At(at(&partial)?),
    ]);
    let grid = [blocks, size.eights().div_ceil(wide)];
    // SAFETY: the maps are of the size; `partial` has two numbers for each block and channel.
    unsafe { kernels::launch(device, name, grid, &arguments) }?;
    Ok((partial, blocks))
}

/// Blocks of a kernel that adds up partial sums.
fn adding_blocks(channels: usize) -> [usize; 2] {
    [channels.div_ceil(THREADS / ADDERS), 1]
}

/// The moments of `[positions, channels]`.
pub fn moments(x: &CudaStorage, channels: usize, eps: f64) -> Result<Moments> {
    let (device, suffix) = (&x.device, kind(x)?.suffix());
    let size = Size::of(x, channels);
    let (partial, blocks) = partial_sums(device, &format!("sum_moments_{suffix}"), size, &[x])?;
    let numbers = || room(device, Kind::F32, channels);
    let moments = Moments {
        mean: numbers()?,
        variance: numbers()?,
        inverse: numbers()?,
    };
    let arguments = [
        Argument::At(at(&partial)?),
        Argument::int(blocks)?,
        Argument::At(at(x)?),
        Argument::int(size.positions)?,
        Argument::int(channels)?,
        Argument::Double(eps),
        Argument::At(at(&moments.mean)?),
        Argument::At(at(&moments.variance)?),
        Argument::At(at(&moments.inverse)?),
    ];
    let name = format!("finish_moments_{suffix}");
    // SAFETY: all are of the sizes above.
    unsafe { kernels::launch(device, &name, adding_blocks(channels), &arguments) }?;
    Ok(moments)
}

/// What normalization does to a channel.
#[derive(Clone, Copy)]
pub struct Channels<'a> {
    /// Taken away.
    pub mean: &'a CudaStorage,
    /// 1 / deviation.
    pub inverse: &'a CudaStorage,
    /// Factor.
    pub gamma: &'a CudaStorage,
}

/// `relu((x - mean) * inverse * gamma + beta + residual)`; residual and ReLU are optional.
pub fn forward(
    x: &CudaStorage,
    norm: Channels,
    beta: &CudaStorage,
    residual: Option<&CudaStorage>,
    relu: bool,
) -> Result<CudaStorage> {
    let kind = kind(x)?;
    let size = Size::of(x, map::len(norm.mean));
    let y = room(&x.device, kind, map::len(x))?;
    let arguments = [
        Argument::At(at(x)?),
        maybe(residual)?,
        Argument::At(at(norm.mean)?),
        Argument::At(at(norm.inverse)?),
        Argument::At(at(norm.gamma)?),
        Argument::At(at(beta)?),
        Argument::Int(relu.into()),
        Argument::At(at(&y)?),
        Argument::int(size.eights())?,
        Argument::long(size.len())?,
    ];
    let name = format!("normalize_{}", kind.suffix());
    // SAFETY: x, residual and y are maps of one size, the others numbers per channel.
    unsafe { kernels::for_each(&x.device, &name, size.len(), &arguments) }?;
    Ok(y)
}

/// The gradients of gamma and beta, and that of `x`, from that of the normalized `x`.
pub fn backward(
    x: &CudaStorage,
    norm: Channels,
    gradient: &CudaStorage,
) -> Result<([CudaStorage; 2], CudaStorage)> {
    let (device, kind) = (&x.device, kind(x)?);
    let channels = map::len(norm.mean);
    let size = Size::of(x, channels);
    let name = format!("sum_slopes_{}", kind.suffix());
    let (partial, blocks) = partial_sums(device, &name, size, &[x, gradient, norm.mean])?;
    let of_gamma = room(device, Kind::F32, channels)?;
    let of_beta = room(device, Kind::F32, channels)?;
    let arguments = [
        Argument::At(at(&partial)?),
        Argument::int(blocks)?,
        Argument::int(channels)?,
        Argument::At(at(norm.inverse)?),
        Argument::At(at(&of_gamma)?),
        Argument::At(at(&of_beta)?),
    ];
    // SAFETY: all are of the sizes above.
    unsafe { kernels::launch(device, "finish_slopes", adding_blocks(channels), &arguments) }?;

    let of_x = room(device, kind, map::len(x))?;
    let arguments = [
        Argument::At(at(x)?),
        Argument::At(at(gradient)?),
        Argument::At(at(norm.mean)?),
        Argument::At(at(norm.inverse)?),
        Argument::At(at(norm.gamma)?),
        Argument::At(at(&of_gamma)?),
        Argument::At(at(&of_beta)?),
        Argument::Float((1.0 / size.positions as f64) as f32),
        Argument::At(at(&of_x)?),
        Argument::int(size.eights())?,
        Argument::long(size.len())?,
    ];
    let name = format!("slopes_{}", kind.suffix());
    // SAFETY: x, gradient and of_x are maps of one size, the others numbers per channel.
    unsafe { kernels::for_each(device, &name, size.len(), &arguments) }?;
    Ok(([of_gamma, of_beta], of_x))
}

/// The sums over the positions of a map: a bias's gradient.
pub fn sums(gradient: &CudaStorage, channels: usize) -> Result<CudaStorage> {
    let device = &gradient.device;
    let size = Size::of(gradient, channels);
    let name = format!("sum_gradient_{}", kind(gradient)?.suffix());
    let (partial, blocks) = partial_sums(device, &name, size, &[gradient])?;
    let of_bias = room(device, Kind::F32, channels)?;
    let arguments = [
        Argument::At(at(&partial)?),
        Argument::int(blocks)?,
        Argument::int(channels)?,
        Argument::At(at(&of_bias)?),
    ];
    // SAFETY: all are of the sizes above.
    unsafe { kernels::launch(device, "finish_sums", adding_blocks(channels), &arguments) }?;
    Ok(of_bias)
}
