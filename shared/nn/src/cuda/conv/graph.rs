//! A convolution as a graph: its tensors (NHWC, filters `[O,k,k,I]`), which of them is computed, and what follows on that before
//! it is written.

use candle_core::{
    Result,
    cuda_backend::cudarc::cudnn::sys::{
        self, cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Kind,
        cudnnPointwiseMode_t::{CUDNN_POINTWISE_ADD, CUDNN_POINTWISE_RELU_FWD},
    },
};

use super::{
    super::{
        MapType,
        cudnn::{
            composed::{Composed, TensorIndex},
            descriptor::Descriptor,
            engines::Target,
            graph::{self, OperationGraph, size},
        },
    },
    problem::{Direction, EPILOGUE_IDS, Epilogue, OPERAND_IDS, Problem},
};
use kernels::shape::{ConvShape, NhwcShape};

/// The graph of a problem, for a handle's device or for no device yet.
pub fn graph(problem: &Problem, target: &Target) -> Result<OperationGraph> {
    let Problem {
        shape,
        map_type,
        direction,
        epilogue,
        ..
    } = *problem;
    let filter = NhwcShape {
        images: shape.c_out,
        height: shape.kernel,
        width: shape.kernel,
        channels: shape.input.channels,
    };
    let shapes = [shape.input, filter, shape.output()];
    let result = match direction {
        Direction::Forward => 2,
        Direction::InputGrad => 0,
        Direction::WeightGrad => 1,
    };
    let mut graph = Composed::default();
    let mut operands = Vec::with_capacity(shapes.len());
    for (id, shape) in OPERAND_IDS.into_iter().zip(shapes) {
        operands.push(graph.operand(tensor(id, shape, map_type)?));
    }
    let written = operands[result];
    if epilogue.is_some() {
        operands[result] = intermediate(&mut graph, shapes[result])?;
    }

    let names = Names::of(direction);
    let operation = Descriptor::new(names.operation)?
        .with(names.alpha, &1.0f32)?
        .with(names.beta, &0.0f32)?;
    let tensors = [
        (names.x, operands[0]),
        (names.weight, operands[1]),
        (names.y, operands[2]),
    ];
    let convolution = (names.convolution, convolution(&shape)?);
    graph.add(operation, &tensors, Some(convolution))?;
    if let Some(epilogue) = epilogue {
        add_epilogue(&mut graph, problem, epilogue, operands[result], written)?;
    }
    graph.graph(target)
}

/// Adds what follows on the convolution's result, from where that is computed to where the result is written. For this order
/// cuDNN has kernels that need not be compiled.
fn add_epilogue(
    graph: &mut Composed,
    problem: &Problem,
    epilogue: Epilogue,
    mut computed: TensorIndex,
    written: TensorIndex,
) -> Result<()> {
    let [shift_id, residual_id] = EPILOGUE_IDS;
    let output = problem.shape.output();
    if epilogue.residual {
        let residual = graph.operand(tensor(residual_id, output, problem.map_type)?);
        let sum = intermediate(graph, output)?;
        graph.pointwise(CUDNN_POINTWISE_ADD, computed, Some(residual), sum)?;
        computed = sum;
    }
    let of_channels = NhwcShape {
        images: 1,
        height: 1,
        width: 1,
        ..output
    };
    let shift = graph.operand(tensor(shift_id, of_channels, MapType::F32)?);
    if !epilogue.relu {
        return graph.pointwise(CUDNN_POINTWISE_ADD, computed, Some(shift), written);
    }
    let sum = intermediate(graph, output)?;
    graph.pointwise(CUDNN_POINTWISE_ADD, computed, Some(shift), sum)?;
    graph.pointwise(CUDNN_POINTWISE_RELU_FWD, sum, None, written)
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

/// A tensor in NHWC order.
fn tensor(id: i64, shape: NhwcShape, map_type: MapType) -> Result<Descriptor> {
    let (sizes, strides) = sizes_and_strides(shape)?;
    graph::tensor(id, map_type, sizes, strides)
}

/// An f32 map between two operations.
fn intermediate(graph: &mut Composed, shape: NhwcShape) -> Result<TensorIndex> {
    let (sizes, strides) = sizes_and_strides(shape)?;
    graph.intermediate(MapType::F32, sizes, strides)
}

/// As cuDNN lists them: N, C, H, W.
fn sizes_and_strides(shape: NhwcShape) -> Result<([i64; 4], [i64; 4])> {
    let channels = size(shape.channels)?;
    let (height, width) = (size(shape.height)?, size(shape.width)?);
    let sizes = [size(shape.images)?, channels, height, width];
    let strides = [height * width * channels, 1, width * channels, channels];
    Ok((sizes, strides))
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
