//! One direction of a convolution: what is computed from what, in which element type, under which options.

use std::{ffi::c_void, fmt};

use candle_core::cuda_backend::cudarc::driver::sys::CUdeviceptr;

use super::super::{MapType, cudnn::plan::NamedAddress};
use crate::ComputeOptions;
use kernels::shape::ConvShape;

/// What is computed from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// y from x and weight.
    Forward,
    /// x's gradient from weight and y's gradient.
    InputGrad,
    /// The weight's gradient from x and y's gradient.
    WeightGrad,
}

/// What follows on a forward convolution, element by element: a number of each channel is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epilogue {
    /// Whether a map of the result's size is added, too.
    pub residual: bool,
    /// Whether a ReLU ends it.
    pub relu: bool,
}

/// Names of the operands in a variant pack: x, weight, y.
pub const OPERAND_IDS: [i64; 3] = [1, 2, 3];
/// Names of an epilogue's operands: f32 for each channel, and a map of the result's size.
pub const EPILOGUE_IDS: [i64; 2] = [4, 5];

/// Addresses of `[B,H,W,I]`, `[O,k,k,I]` and `[B,H',W',O]`; the direction's result is written.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// The input or its gradient.
    pub x: CUdeviceptr,
    /// The weight or its gradient.
    pub weight: CUdeviceptr,
    /// The output or its gradient.
    pub y: CUdeviceptr,
}

impl Operands {
    /// With their names in a variant pack.
    pub fn named(self) -> [NamedAddress; 3] {
        let [x, weight, y] = OPERAND_IDS;
        [(x, self.x), (weight, self.weight), (y, self.y)].map(named)
    }
}

/// An address with its name in a variant pack.
pub fn named((id, address): (i64, CUdeviceptr)) -> NamedAddress {
    NamedAddress {
        id,
        address: address as *mut c_void,
    }
}

/// What a plan is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Sizes; channels are padded.
    pub shape: ConvShape,
    /// Element type of all three operands.
    pub map_type: MapType,
    /// What is computed.
    pub direction: Direction,
    /// What follows in the same kernel, forward.
    pub epilogue: Option<Epilogue>,
    /// Precision and determinism.
    pub options: ComputeOptions,
}

impl Problem {
    /// Images, and elements of the largest operand.
    pub fn images_and_largest(&self) -> (usize, usize) {
        let Self { shape, .. } = self;
        let maps = shape.input.numel().max(shape.output().numel());
        (shape.input.images, maps.max(shape.weight_numel()))
    }
}

/// As the file of plans names it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let ConvShape {
            input,
            c_out,
            kernel,
            stride,
            padding,
        } = self.shape;
        let direction = match self.direction {
            Direction::Forward => "forward",
            Direction::InputGrad => "input gradient",
            Direction::WeightGrad => "weight gradient",
        };
        let ComputeOptions {
            precision,
            deterministic,
        } = self.options;
        write!(
            f,
            "{direction} of {}x{}x{}x{} to {c_out}, kernel {kernel}, stride {stride}, padding {padding}, \
             {precision}, maps {}{}{}",
            input.images,
            input.height,
            input.width,
            input.channels,
            self.map_type.suffix(),
            match self
                .epilogue
                .map(|epilogue| (epilogue.residual, epilogue.relu))
            {
                None => "",
                Some((false, false)) => ", epilogue",
                Some((true, false)) => ", epilogue with residual",
                Some((false, true)) => ", epilogue with relu",
                Some((true, true)) => ", epilogue with residual and relu",
            },
            if deterministic { ", deterministic" } else { "" }
        )
    }
}
