//! cuDNN's descriptors of a convolution and its operands.

use std::ffi::c_int;

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::cudnn::{result, sys},
};

use super::{
    super::MapType,
    cudnn::{Problem, failed},
};
use crate::{ComputeOptions, Precision};
use kernels::shape::NhwcShape;

fn size(number: usize) -> Result<c_int> {
    c_int::try_from(number).map_err(Error::wrap)
}

/// Descriptors of the operands and of the convolution.
pub struct Descriptors {
    /// Of the input or its gradient.
    pub x: sys::cudnnTensorDescriptor_t,
    /// Of the result or its gradient.
    pub y: sys::cudnnTensorDescriptor_t,
    /// Of the weight or its gradient.
    pub weight: sys::cudnnFilterDescriptor_t,
    /// Padding, stride and math type.
    pub convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptors {
    /// The descriptors of a problem.
    pub fn new(problem: &Problem) -> Result<Self> {
        let Problem {
            shape,
            map_type,
            options,
            ..
        } = problem;
        let data_type = match map_type {
            MapType::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            MapType::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        };
        let nhwc = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        // SAFETY: each descriptor is created before it is set; on an error what was created leaks, a few
        // bytes.
        unsafe {
            let descriptors = Self {
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
            let tensor = |descriptor, images: NhwcShape| -> Result<()> {
                result::set_tensor4d_descriptor(descriptor, nhwc, data_type, sizes(images)?)
                    .map_err(failed)
            };
            tensor(descriptors.x, shape.input)?;
            tensor(descriptors.y, shape.output())?;
            let kernel = size(shape.kernel)?;
            let (out, inputs) = (size(shape.c_out)?, size(shape.input.channels)?);
            sys::cudnnSetFilter4dDescriptor(
                descriptors.weight,
                data_type,
                nhwc,
                out,
                inputs,
                kernel,
                kernel,
            )
            .result()
            .map_err(failed)?;
            let (padding, stride) = (size(shape.padding)?, size(shape.stride)?);
            sys::cudnnSetConvolution2dDescriptor(
                descriptors.convolution,
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
            descriptors.set_math(allowed_math(*options))?;
            Ok(descriptors)
        }
    }

    /// Sets the math type.
    pub fn set_math(&self, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the descriptor is ours.
        unsafe { sys::cudnnSetConvolutionMathType(self.convolution, math) }
            .result()
            .map_err(failed)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: all four are ours, and cuDNN copies them when it is called.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_filter_descriptor(self.weight);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}

/// The math type: FMA in f32 keeps all bits of the factors, tensor cores take TF32 or bf16.
pub fn allowed_math(options: ComputeOptions) -> sys::cudnnMathType_t {
    match options.precision {
        Precision::F32 => sys::cudnnMathType_t::CUDNN_FMA_MATH,
        Precision::Tf32 | Precision::Bf16 => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
    }
}
