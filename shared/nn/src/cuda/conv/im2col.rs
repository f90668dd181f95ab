//! Convolutions by im2col and cuBLAS, for problems that cuDNN has no plan for. The batch is taken in pieces
//! whose matrices fit a workspace, always the same, and added up in one order: results repeat to the bit.

use std::{
    ffi::{c_int, c_void},
    ptr::from_ref,
};

use candle_core::{
    Error, Result,
    cuda_backend::{
        CudaDevice,
        cudarc::{
            cublas::{result::gemm_ex, sys},
            driver::sys::CUdeviceptr,
        },
    },
};

use super::{
    super::{
        MapType,
        cudnn::workspace::Workspace,
        module::{self, KernelArg},
    },
    problem::{Direction, Operands, Problem},
};
use crate::Precision;
use kernels::shape::ConvShape;

/// Bytes of a piece's matrix, at most, unless a single image needs more.
const PIECE: usize = 256 << 20;
/// Results in the workspace begin at multiples of this.
const ALIGNMENT: usize = 256;

/// im2col on one device.
pub struct Im2col<'a> {
    /// The device.
    pub device: &'a CudaDevice,
    /// For the matrices.
    pub workspace: &'a mut Workspace,
}

/// Images of a batch and their operands.
#[derive(Clone, Copy)]
struct Piece {
    images: usize,
    x: CUdeviceptr,
    y: CUdeviceptr,
}

/// A factor of a matrix product as cuBLAS reads it, by columns.
#[derive(Clone, Copy)]
struct Factor {
    address: CUdeviceptr,
    /// Elements from column to column.
    stride: usize,
    transposed: bool,
    map_type: MapType,
}

impl MapType {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    fn cublas(self) -> sys::cudaDataType {
        match self {
            Self::F32 => sys::cudaDataType::CUDA_R_32F,
            Self::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        }
    }
}

impl Im2col<'_> {
    /// Solves a problem.
    ///
    /// # Safety
    /// The operands are of the problem's sizes and type, and on this device.
    pub unsafe fn run(&mut self, problem: &Problem, operands: Operands) -> Result<()> {
        let Problem {
            shape, map_type, ..
        } = *problem;
        let images = shape.input.images;
        if images == 0 {
            return Ok(());
        }
        let row = shape.kernel * shape.kernel * shape.input.channels;
        // The input's gradient is added up from f32.
        let matrix_type = match problem.direction {
            Direction::InputGrad => MapType::F32,
            Direction::Forward | Direction::WeightGrad => map_type,
        };
        let image = shape.output().positions() * row * matrix_type.size();
        let at_once = (PIECE / image).clamp(1, images);
        let matrix_bytes = (at_once * image).next_multiple_of(ALIGNMENT);
        let sum_bytes = match problem.direction {
            Direction::WeightGrad => shape.c_out * row * MapType::F32.size(),
            Direction::Forward | Direction::InputGrad => 0,
        };
        let matrix = self.workspace.reserve(matrix_bytes + sum_bytes)?;
        let sum = matrix + matrix_bytes as u64;
        for first in (0..images).step_by(at_once) {
            let offset = |image: usize| (first * image * map_type.size()) as u64;
            let piece = Piece {
                images: at_once.min(images - first),
                x: operands.x + offset(shape.input.image_numel()),
                y: operands.y + offset(shape.output().image_numel()),
            };
            // SAFETY: the piece is a part of the operands, the matrix has its size, the sum the weight's.
            unsafe {
                match problem.direction {
                    Direction::Forward => self.forward(problem, piece, operands.weight, matrix),
                    Direction::InputGrad => {
                        self.input_grad(problem, piece, operands.weight, matrix)
                    }
                    Direction::WeightGrad => {
                        self.weight_grad(problem, piece, (sum, first > 0), matrix)
                    }
                }
            }?;
        }
        if problem.direction == Direction::WeightGrad {
            // SAFETY: the sum and the weight's gradient have the weight's size.
            unsafe { self.convert(sum, (operands.weight, map_type), shape.weight_numel()) }?;
        }
        Ok(())
    }

    /// y `[P,O]` = windows `[P,K]` x weight^T `[K,O]`.
    ///
    /// # Safety
    /// That of [`Self::run`], and the matrix holds the piece's windows.
    unsafe fn forward(
        &self,
        problem: &Problem,
        piece: Piece,
        weight: CUdeviceptr,
        matrix: CUdeviceptr,
    ) -> Result<()> {
        let (map_type, [rows, row, c_out]) = (problem.map_type, sizes(&problem.shape, piece));
        // SAFETY: as the caller promises.
        unsafe {
            self.windows(problem, false, piece.images, [piece.x, matrix])?;
            let weight = factor(weight, row, true, map_type);
            let windows = factor(matrix, row, false, map_type);
            let y = factor(piece.y, c_out, false, map_type);
            self.product(problem, [c_out, rows, row], [weight, windows], y, false)
        }
    }

    /// Windows' gradients `[P,K]` = y's `[P,O]` x weight `[O,K]`, then col2im.
    ///
    /// # Safety
    /// That of [`Self::forward`].
    unsafe fn input_grad(
        &self,
        problem: &Problem,
        piece: Piece,
        weight: CUdeviceptr,
        matrix: CUdeviceptr,
    ) -> Result<()> {
        let (map_type, [rows, row, c_out]) = (problem.map_type, sizes(&problem.shape, piece));
        // SAFETY: as the caller promises.
        unsafe {
            let weight = factor(weight, row, false, map_type);
            let y = factor(piece.y, c_out, false, map_type);
            let windows = factor(matrix, row, false, MapType::F32);
            self.product(problem, [row, rows, c_out], [weight, y], windows, false)?;
            self.windows(problem, true, piece.images, [matrix, piece.x])
        }
    }

    /// The weight's gradient `[O,K]` += y's^T `[O,P]` x windows `[P,K]`, in f32; the first piece sets it.
    ///
    /// # Safety
    /// That of [`Self::forward`], and the sum has the weight's size.
    unsafe fn weight_grad(
        &self,
        problem: &Problem,
        piece: Piece,
        (sum, adds): (CUdeviceptr, bool),
        matrix: CUdeviceptr,
    ) -> Result<()> {
        let (map_type, [rows, row, c_out]) = (problem.map_type, sizes(&problem.shape, piece));
        // SAFETY: as the caller promises.
        unsafe {
            self.windows(problem, false, piece.images, [piece.x, matrix])?;
            let windows = factor(matrix, row, false, map_type);
            let y = factor(piece.y, c_out, true, map_type);
            let sum = factor(sum, row, false, MapType::F32);
            self.product(problem, [row, c_out, rows], [windows, y], sum, adds)
        }
    }

    /// im2col or, transposed, col2im of so many images.
    ///
    /// # Safety
    /// The map and the matrix have the sizes of so many images, each of its type.
    unsafe fn windows(
        &self,
        problem: &Problem,
        transposed: bool,
        images: usize,
        [from, to]: [CUdeviceptr; 2],
    ) -> Result<()> {
        let (shape, suffix) = (&problem.shape, problem.map_type.suffix());
        let (input, output) = (shape.input, shape.output());
        let eights = input.channels / 8;
        // A thread for each eight channels of what is written.
        let positions = if transposed {
            input.positions()
        } else {
            output.positions() * shape.kernel * shape.kernel
        };
        let len = images * positions * eights;
        let arguments = [
            KernelArg::Address(from),
            KernelArg::int(input.height)?,
            KernelArg::int(input.width)?,
            KernelArg::int(output.height)?,
            KernelArg::int(output.width)?,
            KernelArg::int(shape.kernel)?,
            KernelArg::int(shape.stride)?,
            KernelArg::int(shape.padding)?,
            KernelArg::int(eights)?,
            KernelArg::Address(to),
            KernelArg::long(len)?,
        ];
        if transposed {
            let name = format!("col2im_nhwc_{suffix}");
            // SAFETY: as the caller promises.
            unsafe { module::for_each(self.device, &name, len, &arguments) }
        } else {
            let name = format!("im2col_nhwc_{suffix}");
            // SAFETY: as the caller promises.
            unsafe { module::for_each(self.device, &name, len, &arguments) }
        }
    }

    /// `to` = a x b, of m x k and k x n, or added to it.
    ///
    /// # Safety
    /// The factors and the result are as large as their sizes say.
    unsafe fn product(
        &self,
        problem: &Problem,
        sizes: [usize; 3],
        [a, b]: [Factor; 2],
        to: Factor,
        adds: bool,
    ) -> Result<()> {
        let int = |size: usize| c_int::try_from(size).map_err(Error::wrap);
        let [m, n, k] = sizes.map(int);
        let operation = |factor: Factor| match factor.transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        };
        let compute = match problem.options.precision {
            Precision::F32 | Precision::Bf16 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            Precision::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        };
        let (alpha, beta) = (1.0f32, if adds { 1.0f32 } else { 0.0 });
        let cublas = self.device.cublas_handle();
        // SAFETY: as the caller promises; alpha and beta are f32, as for all of these compute types.
        unsafe {
            gemm_ex(
                *cublas.handle(),
                operation(a),
                operation(b),
                m?,
                n?,
                k?,
                from_ref(&alpha).cast(),
                a.address as *const c_void,
                a.map_type.cublas(),
                int(a.stride)?,
                b.address as *const c_void,
                b.map_type.cublas(),
                int(b.stride)?,
                from_ref(&beta).cast(),
                to.address as *mut c_void,
                to.map_type.cublas(),
                int(to.stride)?,
                compute,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(Error::wrap)
    }

    /// Copies f32 numbers as another type.
    ///
    /// # Safety
    /// Both have so many elements.
    unsafe fn convert(
        &self,
        from: CUdeviceptr,
        (to, map_type): (CUdeviceptr, MapType),
        len: usize,
    ) -> Result<()> {
        let arguments = [
            KernelArg::Address(from),
            KernelArg::Int(1),
            KernelArg::Address(to),
            KernelArg::Int(1),
            KernelArg::long(len)?,
        ];
        let name = format!("channels_f32_{}", map_type.suffix());
        // SAFETY: as the caller promises.
        unsafe { module::for_each(self.device, &name, len, &arguments) }
    }
}

/// Rows of a piece's matrix, their length, and the output's channels.
fn sizes(shape: &ConvShape, piece: Piece) -> [usize; 3] {
    [
        piece.images * shape.output().positions(),
        shape.kernel * shape.kernel * shape.input.channels,
        shape.c_out,
    ]
}

fn factor(address: CUdeviceptr, stride: usize, transposed: bool, map_type: MapType) -> Factor {
    Factor {
        address,
        stride,
        transposed,
        map_type,
    }
}
