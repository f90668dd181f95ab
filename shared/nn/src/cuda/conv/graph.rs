//! A convolution as a graph of one operation: its tensors (NHWC, filters `[O,k,k,I]`), and which of them is
//! computed.

use candle_core::{
    Result,
    cuda_backend::cudarc::cudnn::sys::{
        self, cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
    },
};

use super::{
    super::{
        MapType,
        cudnn::{
            descriptor::Descriptor,
            engines::Target,
            graph::{self, OperationGraph, size},
        },
    },
    problem::{Direction, OPERAND_IDS, Problem},
};
use kernels::shape::{ConvShape, NhwcShape};

/// The graph of a problem, for a handle's device or for no device yet.
pub fn graph(problem: &Problem, target: &Target) -> Result<OperationGraph> {
    let Problem {
        shape, map_type, ..
    } = problem;
    let filter = NhwcShape {
        images: shape.c_out,
        height: shape.kernel,
        width: shape.kernel,
        channels: shape.input.channels,
    };
    let [x_id, weight_id, y_id] = OPERAND_IDS;
    let x = tensor(x_id, shape.input, *map_type)?;
    let weight = tensor(weight_id, filter, *map_type)?;
    let y = tensor(y_id, shape.output(), *map_type)?;
    let convolution = convolution(shape)?;

    let names = Names::of(problem.direction);
    let operation = Descriptor::new(names.operation)?
        .with(names.x, &x)?
        .with(names.weight, &weight)?
        .with(names.y, &y)?
        .with(names.convolution, &convolution)?
        .with(names.alpha, &1.0f32)?
        .with(names.beta, &0.0f32)?
        .finalized()?;
    OperationGraph::new(vec![operation], vec![x, weight, y, convolution], target)
}

/// cuDNN's names of a direction's operation and its attributes.
struct Names {
    operation: Kind,
    x: Name,
    weight: Name,
    y: Name,
    convolution: Name,
    alpha: Name,
    beta: Name,
}

impl Names {
    fn of(direction: Direction) -> Self {
        match direction {
            Direction::Forward => Self {
                operation: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                weight: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                convolution: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            },
            Direction::InputGrad => Self {
                operation: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                weight: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                convolution: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            },
            Direction::WeightGrad => Self {
                operation: Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                x: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                weight: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                y: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                convolution: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                alpha: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                beta: Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            },
        }
    }
}

/// A tensor in NHWC order; cuDNN lists sizes and strides as N, C, H, W.
fn tensor(id: i64, shape: NhwcShape, map_type: MapType) -> Result<Descriptor> {
    let channels = size(shape.channels)?;
    let (height, width) = (size(shape.height)?, size(shape.width)?);
    let sizes = [size(shape.images)?, channels, height, width];
    let strides = [height * width * channels, 1, width * channels, channels];
    graph::tensor(id, map_type, sizes, strides)
}

/// Kernel positions, accumulated in f32.
fn convolution(shape: &ConvShape) -> Result<Descriptor> {
    let padding = [size(shape.padding)?; 2];
    let stride = [size(shape.stride)?; 2];
    Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .with(
            Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
            &sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
        )?
        .with(
            Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
            &sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
        )?
        .with(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &2i64)?
        .with_all(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &padding)?
        .with_all(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &padding)?
        .with_all(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &[1i64; 2])?
        .with_all(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &stride)?
        .finalized()
}
