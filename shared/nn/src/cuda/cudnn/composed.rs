//! Graphs of several operations that cuDNN computes in one kernel.

use candle_core::{
    Result,
    cuda_backend::cudarc::cudnn::sys::{
        cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
        cudnnDataType_t::CUDNN_DATA_FLOAT, cudnnNanPropagation_t::CUDNN_PROPAGATE_NAN,
        cudnnPointwiseMode_t as Mode, cudnnReduceTensorOp_t::CUDNN_REDUCE_TENSOR_ADD,
    },
};

use super::{
    super::MapType,
    descriptor::Descriptor,
    engines::Target,
    graph::{OperationGraph, intermediate},
};

/// Names of tensors between operations begin here; those of operands are below.
const FIRST_INTERMEDIATE: i64 = 1000;

/// A tensor of a graph that is being composed.
#[derive(Clone, Copy, Debug)]
pub struct TensorIndex(usize);

/// Operations, in order, and their tensors. Everything is computed in f32.
#[derive(Debug, Default)]
pub struct Composed {
    tensors: Vec<Descriptor>,
    operations: Vec<Descriptor>,
    parts: Vec<Descriptor>,
}

impl Composed {
    /// A tensor that the variant pack names.
    pub fn operand(&mut self, tensor: Descriptor) -> TensorIndex {
        self.tensors.push(tensor);
        TensorIndex(self.tensors.len() - 1)
    }

    /// A tensor between operations.
    pub fn intermediate(
        &mut self,
        map_type: MapType,
        sizes: [i64; 4],
        strides: [i64; 4],
    ) -> Result<TensorIndex> {
        let id = FIRST_INTERMEDIATE + self.tensors.len() as i64;
        Ok(self.operand(intermediate(id, map_type, sizes, strides)?))
    }

    /// `c` is the matrix product of `a` and `b`.
    pub fn matmul(&mut self, a: TensorIndex, b: TensorIndex, c: TensorIndex) -> Result<()> {
        let product = Descriptor::new(Kind::CUDNN_BACKEND_MATMUL_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_MATMUL_COMP_TYPE, &CUDNN_DATA_FLOAT)?
            .finalized()?;
        self.add(
            Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)?,
            &[
                (Name::CUDNN_ATTR_OPERATION_MATMUL_ADESC, a),
                (Name::CUDNN_ATTR_OPERATION_MATMUL_BDESC, b),
                (Name::CUDNN_ATTR_OPERATION_MATMUL_CDESC, c),
            ],
            Some((Name::CUDNN_ATTR_OPERATION_MATMUL_DESC, product)),
        )
    }

    /// `y` is a function of each element of `x`, and of `other` where the function has two arguments.
    pub fn pointwise(
        &mut self,
        mode: Mode,
        x: TensorIndex,
        other: Option<TensorIndex>,
        y: TensorIndex,
    ) -> Result<()> {
        let mut tensors = vec![
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x),
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y),
        ];
        tensors.extend(other.map(|other| (Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC, other)));
        let mut function = Descriptor::new(Kind::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_POINTWISE_MODE, &mode)?
            .with(Name::CUDNN_ATTR_POINTWISE_MATH_PREC, &CUDNN_DATA_FLOAT)?;
        if mode == Mode::CUDNN_POINTWISE_RELU_FWD {
            // NaN stays NaN, so that the loss shows it.
            let name = Name::CUDNN_ATTR_POINTWISE_NAN_PROPAGATION;
            function = function.with(name, &CUDNN_PROPAGATE_NAN)?;
        }
        let function = function.finalized()?;
        self.add(
            Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)?,
            &tensors,
            Some((Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)),
        )
    }

    /// `y` is the sum of `x` over the dimensions of which it has one element.
    pub fn sum(&mut self, x: TensorIndex, y: TensorIndex) -> Result<()> {
        let reduction = Descriptor::new(Kind::CUDNN_BACKEND_REDUCTION_DESCRIPTOR)?
            .with(
                Name::CUDNN_ATTR_REDUCTION_OPERATOR,
                &CUDNN_REDUCE_TENSOR_ADD,
            )?
            .with(Name::CUDNN_ATTR_REDUCTION_COMP_TYPE, &CUDNN_DATA_FLOAT)?
            .finalized()?;
        self.add(
            Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)?,
            &[
                (Name::CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x),
                (Name::CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y),
            ],
            Some((Name::CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction)),
        )
    }

    /// `y` has the elements of `x` with other sizes and strides: the transposed matrix.
    pub fn reshape(&mut self, x: TensorIndex, y: TensorIndex) -> Result<()> {
        self.add(
            Descriptor::new(Kind::CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)?,
            &[
                (Name::CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x),
                (Name::CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y),
            ],
            None,
        )
    }

    /// The graph of all of them.
    pub fn graph(mut self, target: &Target) -> Result<OperationGraph> {
        self.parts.extend(self.tensors);
        OperationGraph::new(self.operations, self.parts, target)
    }

    /// An operation of these tensors, and of a `part` that describes it.
    pub fn add(
        &mut self,
        mut operation: Descriptor,
        tensors: &[(Name, TensorIndex)],
        part: Option<(Name, Descriptor)>,
    ) -> Result<()> {
        for &(name, TensorIndex(index)) in tensors {
            operation = operation.with(name, &self.tensors[index])?;
        }
        if let Some((name, part)) = part {
            operation = operation.with(name, &part)?;
            self.parts.push(part);
        }
        self.operations.push(operation.finalized()?);
        Ok(())
    }
}
