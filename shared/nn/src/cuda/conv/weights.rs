//! Weights as cuDNN reads them: `[O,I,k,k]` f32 tensors are packed to `[O,k,k,I]`, their gradients
//! unpacked.

use candle_core::{CudaStorage, Device, Error, Result, Tensor, bail, cuda_backend::CudaDevice};

use super::{
    super::{
        Argument, MapType,
        arrays::{ArrayLaunch, BLOCK_LEN, FilterArray},
        cudnn::{Cudnn, Task, with_cudnn},
        feature_map::{self, address_of, alloc, map_type, padded, padded_shape, with_storages},
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
    pub fn new(weight: Argument, options: ComputeOptions) -> Result<Self> {
        let (packed, array) = allocated(weight, options)?;
        pack(&weight.0.device, options, &[array])?;
        Ok(packed)
    }

    /// Packs a tensor.
    pub fn of(weight: &Tensor, options: ComputeOptions) -> Result<Self> {
        with_storages([weight], |[weight]| Self::new(weight, options))
    }

    /// Packs many tensors in few launches.
    pub fn all(weights: &[&Tensor], options: ComputeOptions) -> Result<Vec<Self>> {
        let Some(Device::Cuda(device)) = weights.first().map(|weight| weight.device()) else {
            bail!("weights on CUDA are needed")
        };
        let of = |weight: &&Tensor| {
            if !weight.is_contiguous() {
                bail!("a contiguous weight is needed")
            }
            with_storages([weight], |[weight]| allocated(weight, options))
        };
        let all = weights.iter().map(of).collect::<Result<Vec<_>>>()?;
        let (packed, arrays): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        pack(device, options, &arrays)?;
        Ok(packed)
    }

    /// As it is stored.
    pub fn stored(&self) -> &CudaStorage {
        &self.weight
    }

    /// A problem of such sizes with padded channels, without an epilogue.
    pub fn problem(&self, shape: ConvShape, direction: Direction, map_type: MapType) -> Problem {
        Problem {
            shape,
            map_type,
            direction,
            epilogue: None,
            options: self.options,
        }
    }

    /// The convolution of `x`.
    pub fn forward(&self, shape: &ConvShape, x: &CudaStorage) -> Result<CudaStorage> {
        let stored = padded_shape(shape);
        let y = alloc(&x.device, map_type(x)?, stored.output().numel())?;
        let problem = self.problem(stored, Direction::Forward, map_type(x)?);
        solve(problem, [x, &self.weight, &y])?;
        Ok(y)
    }

    /// The gradient of the convolution's input from that of its result.
    pub fn input_gradient(&self, shape: &ConvShape, gradient: &CudaStorage) -> Result<CudaStorage> {
        let stored = padded_shape(shape);
        let map_type = map_type(gradient)?;
        let grad_x = alloc(&gradient.device, map_type, stored.input.numel())?;
        let problem = self.problem(stored, Direction::InputGrad, map_type);
        solve(problem, [&grad_x, &self.weight, gradient])?;
        Ok(grad_x)
    }
}

/// Memory for a packed weight, and how it is filled; the weight is contiguous and must live until that is launched.
fn allocated(
    (weight, layout): Argument,
    options: ComputeOptions,
) -> Result<(PackedWeights, FilterArray)> {
    let (out, inputs, rows, columns) = layout.shape().dims4()?;
    let area = rows * columns;
    let len = padded(out) * area * padded(inputs);
    let packed = alloc(&weight.device, MapType::of(options), len)?;
    let int = |number: usize| i32::try_from(number).map_err(Error::wrap);
    let array = FilterArray {
        filter: feature_map::f32_address(weight, layout)?,
        packed: address_of(&packed)?,
        out: int(out)?,
        inputs: int(inputs)?,
        area: int(area)?,
        padded_inputs: int(padded(inputs))?,
        len: len as i64,
    };
    let packed = PackedWeights {
        weight: packed,
        options,
    };
    Ok((packed, array))
}

/// Launches the packing.
fn pack(device: &CudaDevice, options: ComputeOptions, filters: &[FilterArray]) -> Result<()> {
    let name = format!("pack_filters_{}", MapType::of(options).suffix());
    for launch in ArrayLaunch::all(filters)? {
        let arguments = [
            KernelArg::Filters(&launch.arrays),
            KernelArg::int(BLOCK_LEN)?,
        ];
        // SAFETY: the weights have the sizes beside their addresses, what is packed has the padded ones; all of it is freed in the
        // order of the stream, after the kernel.
        unsafe { module::launch(device, &name, [launch.blocks, 1], &arguments) }?;
    }
    Ok(())
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
    let problem = Problem {
        shape: stored,
        map_type,
        direction: Direction::WeightGrad,
        epilogue: None,
        options,
    };
    solve(problem, [x, &packed, gradient])?;
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
    // SAFETY: sizes are those of `allocated`, exchanged.
    unsafe { module::for_each(device, &name, len, &arguments) }?;
    Ok(grad_weight)
}

/// The addresses of x, weight and y, which have padded channels, if they fit a problem.
pub fn checked(problem: &Problem, operands: [&CudaStorage; 3]) -> Result<Operands> {
    let stored = &problem.shape;
    let sizes = [
        stored.input.numel(),
        stored.c_out * stored.kernel * stored.kernel * stored.input.channels,
        stored.output().numel(),
    ];
    for (operand, size) in operands.into_iter().zip(sizes) {
        if feature_map::len(operand) != size || map_type(operand)? != problem.map_type {
            bail!("feature maps that do not fit {stored:?}")
        }
    }
    let [x, weight, y] = operands;
    Ok(Operands {
        x: address_of(x)?,
        weight: address_of(weight)?,
        y: address_of(y)?,
    })
}

/// Solves a problem.
///
/// # Safety
/// The operands have the problem's sizes and types, and are on the device of cuDNN; the result may be written.
pub unsafe fn run(cudnn: &mut Cudnn, problem: Problem, operands: Operands) -> Result<()> {
    let task = Task::Convolution(problem);
    // SAFETY: as the caller promises.
    if unsafe { cudnn.run(&task, &operands.named()) }? {
        return Ok(());
    }
    let (device, workspace) = cudnn.device_and_workspace();
    let mut im2col = Im2col { device, workspace };
    // SAFETY: as the caller promises.
    unsafe { im2col.run(&problem, operands) }
}

fn solve(problem: Problem, operands: [&CudaStorage; 3]) -> Result<()> {
    let addresses = checked(&problem, operands)?;
    with_cudnn(&operands[0].device, |cudnn| {
        // SAFETY: sizes and types were just checked.
        unsafe { run(cudnn, problem, addresses) }
    })
}
