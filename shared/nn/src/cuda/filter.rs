//! Convolutions of maps with candle's weights: `[O,I,k,k]` f32 tensors become `[O,k,k,I]` for cuDNN,
//! and gradients come back.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    Kind,
    convolve::{Direction, Operands},
    kernels::{self, Argument},
    map::{self, at, kind, maybe, padded_geometry, room, with_storages},
    with_convolutions,
};
use crate::arithmetic::ComputeOptions;
use ::kernels::shape::ConvShape;

/// A weight as cuDNN reads it.
#[derive(Debug)]
pub struct Packed(CudaStorage);

impl Packed {
    /// Packs a contiguous `[O,I,k,k]` or, of a transposed convolution, `[I,O,k,k]`.
    pub fn new(geometry: &ConvShape, weight: &Tensor, kind: Kind) -> Result<Self> {
        let stored = padded_geometry(geometry);
        let area = geometry.kernel * geometry.kernel;
        let len = stored.c_out * area * stored.input.channels;
        with_storages([weight], |[(weight, layout)]| {
            if weight_offset(layout)? + geometry.c_out * geometry.input.channels * area
                > map::len(weight)
            {
                bail!("a weight that does not fit {geometry:?}")
            }
            let packed = room(&weight.device, kind, len)?;
            let arguments = [
                Argument::At(at(weight)? + 4 * weight_offset(layout)? as u64),
                Argument::int(geometry.c_out)?,
                Argument::int(geometry.input.channels)?,
                Argument::int(area)?,
                Argument::At(at(&packed)?),
                Argument::int(stored.input.channels)?,
                Argument::long(len)?,
            ];
            let name = format!("pack_filter_{}", kind.suffix());
            // SAFETY: the weight has the geometry's size, the packed one the stored one's.
            unsafe { kernels::for_each(&weight.device, &name, len, &arguments) }?;
            Ok(Self(packed))
        })
    }

    /// The convolution of `x`.
    pub fn forward(&self, geometry: &ConvShape, x: &CudaStorage) -> Result<CudaStorage> {
        let stored = padded_geometry(geometry);
        let y = room(&x.device, kind(x)?, stored.output().numel())?;
        let operands = [x, &self.0, &y];
        run(&stored, Direction::Forward, operands)?;
        Ok(y)
    }

    /// The gradient of what was convolved.
    pub fn backward(&self, geometry: &ConvShape, slopes: &CudaStorage) -> Result<CudaStorage> {
        let stored = padded_geometry(geometry);
        let of_x = room(&slopes.device, kind(slopes)?, stored.input.numel())?;
        run(&stored, Direction::Input, [&of_x, &self.0, slopes])?;
        Ok(of_x)
    }
}

fn weight_offset(layout: &candle_core::Layout) -> Result<usize> {
    match layout.contiguous_offsets() {
        Some((start, _)) => Ok(start),
        None => bail!("a contiguous weight is needed"),
    }
}

/// The gradient of the weight, `[O,I,k,k]` f32.
pub fn weight_gradient(
    geometry: &ConvShape,
    x: &CudaStorage,
    slopes: &CudaStorage,
) -> Result<CudaStorage> {
    let (stored, kind, device) = (padded_geometry(geometry), kind(x)?, &x.device);
    let area = geometry.kernel * geometry.kernel;
    let packed = room(device, kind, stored.c_out * area * stored.input.channels)?;
    run(&stored, Direction::Weight, [x, &packed, slopes])?;
    let len = geometry.c_out * geometry.input.channels * area;
    let gradient = room(device, Kind::F32, len)?;
    let arguments = [
        Argument::At(at(&packed)?),
        Argument::int(geometry.input.channels)?,
        Argument::int(area)?,
        Argument::int(stored.input.channels)?,
        Argument::At(at(&gradient)?),
        Argument::long(len)?,
    ];
    let name = format!("unpack_filter_{}", kind.suffix());
    // SAFETY: as in `Packed::new`, the other way round.
    unsafe { kernels::for_each(device, &name, len, &arguments) }?;
    Ok(gradient)
}

/// x, weight and y are as stored: channels filled up.
fn run(stored: &ConvShape, direction: Direction, [x, weight, y]: [&CudaStorage; 3]) -> Result<()> {
    let kind = kind(x)?;
    let sizes = [
        stored.input.numel(),
        stored.c_out * stored.kernel * stored.kernel * stored.input.channels,
        stored.output().numel(),
    ];
    if [x, weight, y].map(map::len) != sizes || [map::kind(weight)?, map::kind(y)?] != [kind; 2] {
        bail!("maps that do not fit {stored:?}")
    }
    let operands = Operands {
        x: at(x)?,
        weight: at(weight)?,
        y: at(y)?,
    };
    with_convolutions(&x.device, |convolutions| {
        let arithmetic = ComputeOptions::chosen();
        // SAFETY: sizes and kinds were just looked at.
        unsafe { convolutions.run(stored, kind, arithmetic, direction, operands) }
    })
}

/// `y = relu(y + shift + residual)`, in place; all but `y` are optional.
pub fn finish(
    y: &CudaStorage,
    shift: Option<&CudaStorage>,
    residual: Option<&CudaStorage>,
    relu: bool,
    channels: usize,
) -> Result<()> {
    let len = map::len(y) / 8;
    let arguments = [
        Argument::At(at(y)?),
        maybe(shift)?,
        maybe(residual)?,
        Argument::Int(relu.into()),
        Argument::int(channels / 8)?,
        Argument::long(len)?,
    ];
    let name = format!("finish_{}", kind(y)?.suffix());
    // SAFETY: y and residual are maps of one size, shift has a number for each channel.
    unsafe { kernels::for_each(&y.device, &name, len, &arguments) }
}

/// `gradient + residual` where `gate` is positive, zero elsewhere; `into` may be `gradient`.
pub fn cut(
    gradient: &CudaStorage,
    residual: Option<&CudaStorage>,
    gate: Option<&CudaStorage>,
    into: &CudaStorage,
) -> Result<()> {
    let len = map::len(gradient) / 8;
    let arguments = [
        Argument::At(at(gradient)?),
        maybe(residual)?,
        maybe(gate)?,
        Argument::At(at(into)?),
        Argument::long(len)?,
    ];
    let name = format!("cut_{}", kind(gradient)?.suffix());
    // SAFETY: all are maps of one size.
    unsafe { kernels::for_each(&gradient.device, &name, len, &arguments) }
}

/// A tensor `[C]` as one number for each stored channel, zeros for those that are not there.
pub fn numbers(tensor: &Tensor) -> Result<CudaStorage> {
    let channels = tensor.elem_count();
    with_storages([tensor], |[(storage, layout)]| {
        match map::enter(storage, layout, channels, Kind::F32)? {
            map::Lent::Own(storage) => Ok(storage),
            // A copy, since the tensor may change before it is read for the last time.
            map::Lent::Theirs(storage) => map::copy(storage),
        }
    })
}
