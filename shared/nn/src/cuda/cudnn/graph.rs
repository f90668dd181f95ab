//! Graphs of operations, and the tensors that they are made of.

use candle_core::{
    Error, Result,
    cuda_backend::cudarc::cudnn::sys::{
        self, cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
    },
};

use super::{super::MapType, descriptor::Descriptor, engines::Target};

/// Bytes that addresses of operands are multiples of.
const ALIGNMENT: i64 = 16;

/// The graph, and the descriptors it is made of, which live as long.
#[derive(Debug)]
pub struct OperationGraph {
    graph: Descriptor,
    _parts: Vec<Descriptor>,
}

impl OperationGraph {
    /// The graph of finalized operations, for a handle's device or for no device yet; `parts` is what the operations are
    /// made of.
    pub fn new(
        operations: Vec<Descriptor>,
        mut parts: Vec<Descriptor>,
        target: &Target,
    ) -> Result<Self> {
        let mut graph = Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
            .with_all(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operations)?;
        if let Target::Handle(handle) = target {
            graph = graph.with(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle)?;
        }
        parts.extend(operations);
        Ok(Self {
            graph: graph.finalized()?,
            _parts: parts,
        })
    }

    /// The graph's descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.graph
    }
}

/// A size as cuDNN takes it.
pub fn size(number: usize) -> Result<i64> {
    i64::try_from(number).map_err(Error::wrap)
}

/// A tensor in the device's memory by its name in variant packs.
pub fn tensor(
    id: i64,
    map_type: MapType,
    sizes: [i64; 4],
    strides: [i64; 4],
) -> Result<Descriptor> {
    described(id, map_type, sizes, strides)?.finalized()
}

/// A tensor between two operations of a graph, which is never in memory.
pub fn intermediate(
    id: i64,
    map_type: MapType,
    sizes: [i64; 4],
    strides: [i64; 4],
) -> Result<Descriptor> {
    described(id, map_type, sizes, strides)?
        .with(Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, &true)?
        .finalized()
}

/// An f32 number that is given by an address of the host.
pub fn number(id: i64) -> Result<Descriptor> {
    described(id, MapType::F32, [1; 4], [1; 4])?
        .with(Name::CUDNN_ATTR_TENSOR_IS_BY_VALUE, &true)?
        .finalized()
}

fn described(id: i64, map_type: MapType, sizes: [i64; 4], strides: [i64; 4]) -> Result<Descriptor> {
    let data_type = match map_type {
        MapType::F32 => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
        MapType::Bf16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
    };
    Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &data_type)?
        .with_all(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &sizes)?
        .with_all(Name::CUDNN_ATTR_TENSOR_STRIDES, &strides)?
        .with(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &id)?
        .with(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &ALIGNMENT)
}
