//! Weights as cuDNN reads them: `[O,I,k,k]` f32 tensors are packed to `[O,k,k,I]`, their gradients
//! unpacked.

use candle_core::{CudaStorage, Result, Tensor, bail};

use super::{
    super::{
        Argument, MapType,
        cudnn::{Task, with_cudnn},
        feature_map::{self, address_of, alloc, map_type, padded_shape, with_storages},
        module::{self, KernelArg},
    },
    im2col::Im2col,
    problem::{Direction, Operands, Problem},
};
use crate::ComputeOptions;
use kernels::shape::ConvShape;

/// A packed weight.
#[derive(Debug)]
pub struct PackedWeights {
    weight: CudaStorage,
    options: ComputeOptions,
}

impl PackedWeights {
    /// Packs a contiguous `[O,I,k,k]` or, of a transposed convolution, `[I,O,k,k]`.
    pub fn new(
        shape: &ConvShape,
        (weight, layout): Argument,
        options: ComputeOptions,
    ) -> Result<Self> {
        let stored = padded_shape(shape);
        let area = shape.kernel * shape.kernel;
        let len = stored.c_out * area * stored.input.channels;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a contiguous weight is needed")
        };
        if end - start != shape.c_out * shape.input.channels * area {
            bail!("a weight that does not fit {shape:?}")
        }
        let map_type = MapType::of(options);
        let packed = alloc(&weight.device, map_type, len)?;
        let arguments = [
            KernelArg::Address(feature_map::f32_address(weight, layout)?),
            KernelArg::int(shape.c_out)?,
            KernelArg::int(shape.input.channels)?,
            KernelArg::int(area)?,
            KernelArg::Address(address_of(&packed)?),
            KernelArg::int(stored.input.channels)?,
            KernelArg::long(len)?,
        ];
        let name = format!("pack_filter_{}", map_type.suffix());
        // SAFETY: the weight has the shape's size, the packed one the padded shape's.
        unsafe { module::for_each(&weight.device, &name, len, &arguments) }?;
        Ok(Self {
            weight: packed,
            options,
        })
    }

    /// Packs a tensor.
    pub fn of(shape: &ConvShape, weight: &Tensor, options: ComputeOptions) -> Result<Self> {
        with_storages([weight], |[weight]| Self::new(shape, weight, options))
    }

    /// The convolution of `x`.
    pub fn forward(&self, shape: &ConvShape, x: &CudaStorage) -> Result<CudaStorage> {
        let stored = padded_shape(shape);
        let y = alloc(&x.device, map_type(x)?, stored.output().numel())?;
        let operands = [x, &self.weight, &y];
        run(&stored, self.options, Direction::Forward, operands)?;
        Ok(y)
    }

    /// The gradient of the convolution's input from that of its result.
    pub fn input_gradient(&self, shape: &ConvShape, gradient: &CudaStorage) -> Result<CudaStorage> {
        let stored = padded_shape(shape);
        let grad_x = alloc(&gradient.device, map_type(gradient)?, stored.input.numel())?;
        let operands = [&grad_x, &self.weight, gradient];
        run(&stored, self.options, Direction::InputGrad, operands)?;
        Ok(grad_x)
    }
}

/// The gradient of the weight, `[O,I,k,k]` f32.
pub fn weight_gradient(
    shape: &ConvShape,
    x: &CudaStorage,
    gradient: &CudaStorage,
    options: ComputeOptions,
) -> Result<CudaStorage> {
    let (stored, map_type, device) = (padded_shape(shape), map_type(x)?, &x.device);
    let area = shape.kernel * shape.kernel;
    let packed = alloc(
        device,
        map_type,
        stored.c_out * area * stored.input.channels,
    )?;
    let operands = [x, &packed, gradient];
    run(&stored, options, Direction::WeightGrad, operands)?;
    let len = shape.c_out * shape.input.channels * area;
    let grad_weight = alloc(device, MapType::F32, len)?;
    let arguments = [
        KernelArg::Address(address_of(&packed)?),
        KernelArg::int(shape.input.channels)?,
        KernelArg::int(area)?,
        KernelArg::int(stored.input.channels)?,
        KernelArg::Address(address_of(&grad_weight)?),
        KernelArg::long(len)?,
    ];
    let name = format!("unpack_filter_{}", map_type.suffix());
    // SAFETY: sizes are those of `PackedWeights::new`, exchanged.
    unsafe { module::for_each(device, &name, len, &arguments) }?;
    Ok(grad_weight)
}

/// Solves a problem; x, weight and y have padded channels.
fn run(
    stored: &ConvShape,
    options: ComputeOptions,
    direction: Direction,
    [x, weight, y]: [&CudaStorage; 3],
) -> Result<()> {
    let map_type = map_type(x)?;
    let sizes = [
        stored.input.numel(),
        stored.c_out * stored.kernel * stored.kernel * stored.input.channels,
        stored.output().numel(),
    ];
    if [x, weight, y].map(feature_map::len) != sizes
        || [feature_map::map_type(weight)?, feature_map::map_type(y)?] != [map_type; 2]
    {
        bail!("feature maps that do not fit {stored:?}")
    }
    let operands = Operands {
        x: address_of(x)?,
        weight: address_of(weight)?,
        y: address_of(y)?,
    };
    let problem = Problem {
        shape: *stored,
        map_type,
        direction,
        options,
    };
    with_cudnn(&x.device, |cudnn| {
        let task = Task::Convolution(problem);
        // SAFETY: sizes and types were just checked.
        if unsafe { cudnn.run(&task, &operands.named()) }? {
            return Ok(());
        }
        let (device, workspace) = cudnn.device_and_workspace();
        let mut im2col = Im2col { device, workspace };
        // SAFETY: as above.
        unsafe { im2col.run(&problem, operands) }
    })
}
