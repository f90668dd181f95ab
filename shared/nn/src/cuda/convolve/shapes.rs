//! What cuDNN is told of a convolution: sizes, numbers and arithmetic come in, descriptions go out.

use std::ffi::c_int;

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::cudnn::{result, sys},
};

use super::{super::Kind, Case, failed};
use crate::arithmetic::{ComputeOptions, Precision};
use ::kernels::shape::NhwcShape;

fn size(number: usize) -> Result<c_int> {
    c_int::try_from(number).map_err(Error::wrap)
}

/// cuDNN's descriptions of the operands and of the convolution.
pub(super) struct Shapes {
    pub x: sys::cudnnTensorDescriptor_t,
    pub y: sys::cudnnTensorDescriptor_t,
    pub weight: sys::cudnnFilterDescriptor_t,
    pub convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Shapes {
    pub fn new(case: &Case) -> Result<Self> {
        let Case {
            geometry,
            kind,
            arithmetic,
            ..
        } = case;
        let kind = match kind {
            Kind::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            Kind::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        };
        let nhwc = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        // SAFETY: each description is made before it is filled; on an error what was made is lost,
        // a few bytes.
        unsafe {
            let shapes = Self {
                x: result::create_tensor_descriptor().map_err(failed)?,
                y: result::create_tensor_descriptor().map_err(failed)?,
                weight: result::create_filter_descriptor().map_err(failed)?,
                convolution: result::create_convolution_descriptor().map_err(failed)?,
            };
            let sizes = |p: NhwcShape| -> Result<[c_int; 4]> {
                Ok([
                    size(p.images)?,
                    size(p.channels)?,
                    size(p.height)?,
                    size(p.width)?,
                ])
            };
            let tensor = |descriptor, pictures: NhwcShape| -> Result<()> {
                result::set_tensor4d_descriptor(descriptor, nhwc, kind, sizes(pictures)?)
                    .map_err(failed)
            };
            tensor(shapes.x, geometry.input)?;
            tensor(shapes.y, geometry.output())?;
            let kernel = size(geometry.kernel)?;
            let (out, inputs) = (size(geometry.c_out)?, size(geometry.input.channels)?);
            sys::cudnnSetFilter4dDescriptor(shapes.weight, kind, nhwc, out, inputs, kernel, kernel)
                .result()
                .map_err(failed)?;
            let (padding, stride) = (size(geometry.padding)?, size(geometry.stride)?);
            sys::cudnnSetConvolution2dDescriptor(
                shapes.convolution,
                padding,
                padding,
                stride,
                stride,
                1,
                1,
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            )
            .result()
            .map_err(failed)?;
            shapes.multiply_by(allowed_math(*arithmetic))?;
            Ok(shapes)
        }
    }

    /// Sets how factors are multiplied.
    pub fn multiply_by(&self, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the description is ours.
        unsafe { sys::cudnnSetConvolutionMathType(self.convolution, math) }
            .result()
            .map_err(failed)
    }
}

impl Drop for Shapes {
    fn drop(&mut self) {
        // SAFETY: all four are ours, and cuDNN copies what it needs when it is called.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_filter_descriptor(self.weight);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}

/// f32 is f32: no shorter factors. Otherwise tensor cores may take TF32, or bf16 as it comes.
pub(super) fn allowed_math(arithmetic: ComputeOptions) -> sys::cudnnMathType_t {
    match arithmetic.precision {
        Precision::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
        Precision::Tf32 | Precision::Bf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
    }
}
