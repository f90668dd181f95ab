//! Every convolution of the models, by the names and shapes of their weights.

use candle_core::Device;

use super::super::{
    super::{MapType, feature_map::padded_shape},
    problem::{Direction, Epilogue, Problem},
};
use crate::{
    ComputeDevice, ComputeOptions,
    model::{Architecture, Detector, DetectorInput},
};
use kernels::shape::{ConvShape, NhwcShape};

/// Channels of the stem.
const WIDTHS: [usize; 2] = [16, 64];
/// Images of a batch: of training, of the last of an epoch, and of attacks.
const BATCHES: [usize; 13] = [1, 7, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 1024];

/// Different shapes of one image, with padded channels.
pub fn shapes() -> Vec<ConvShape> {
    let device = ComputeDevice::from(&Device::Cpu);
    let mut shapes: Vec<ConvShape> = Vec::new();
    let mut add = |shape: ConvShape| {
        let shape = padded_shape(&shape);
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    };
    for width in WIDTHS {
        let model = Architecture::DEFAULT.init(width, 10, 0, &device).unwrap();
        for (name, tensor) in model.weights().tensors() {
            if let Ok(sizes) = tensor.dims4() {
                add(resnet(name, sizes));
            }
        }
        for input in [DetectorInput::Full, DetectorInput::Low] {
            let detector = Detector::init(input, width, 1, 0, &device).unwrap();
            for (name, tensor) in detector.weights().tensors() {
                if let Ok(sizes) = tensor.dims4() {
                    add(embedding(name, sizes));
                }
            }
        }
    }
    // 11 of the ResNet and 5 of the detector, of which one equals one of the ResNet's, and two each other.
    assert_eq!(shapes.len(), WIDTHS.len() * (11 + 5 - 2));
    shapes
}

/// All problems of these shapes under these options.
pub fn of(shapes: &[ConvShape], options: ComputeOptions) -> impl Iterator<Item = Problem> {
    let directions = [
        Direction::Forward,
        Direction::InputGrad,
        Direction::WeightGrad,
    ];
    let sized = shapes
        .iter()
        .flat_map(|shape| BATCHES.map(|images| (*shape, images)));
    sized.flat_map(move |(mut shape, images)| {
        shape.input.images = images;
        directions.map(|direction| Problem {
            shape,
            map_type: MapType::of(options),
            direction,
            epilogue: None,
            options,
        })
    })
}

/// The forward convolutions of these shapes with each epilogue that the models have.
pub fn fused(shapes: &[ConvShape], options: ComputeOptions) -> impl Iterator<Item = Problem> {
    let epilogues = [(false, false), (false, true), (true, true)];
    of(shapes, options)
        .filter(|problem| problem.direction == Direction::Forward)
        .flat_map(move |problem| {
            epilogues.map(|(residual, relu)| Problem {
                epilogue: Some(Epilogue { residual, relu }),
                ..problem
            })
        })
}

fn shape(
    side: usize,
    [c_in, c_out, kernel]: [usize; 3],
    stride: usize,
    padding: usize,
) -> ConvShape {
    ConvShape {
        input: NhwcShape {
            images: 1,
            height: side,
            width: side,
            channels: c_in,
        },
        c_out,
        kernel,
        stride,
        padding,
    }
}

/// Of the weight `[O,I,k,k]` of a ResNet: `conv1.weight` or `layer{stage}.{block}.{…}.weight`.
fn resnet(name: &str, (c_out, c_in, kernel, _): (usize, usize, usize, usize)) -> ConvShape {
    let channels = [c_in, c_out, kernel];
    let Some(name) = name.strip_prefix("layer") else {
        assert_eq!(name, "conv1.weight");
        return shape(32, channels, 1, 1);
    };
    let parts: Vec<&str> = name.split('.').collect();
    let stage: usize = parts[0].parse().unwrap();
    let halves = stage > 1 && parts[1] == "0" && parts[2] != "conv2";
    let side = 32 >> (stage - 1);
    let padding = usize::from(kernel == 3);
    if halves {
        shape(2 * side, channels, 2, padding)
    } else {
        shape(side, channels, 1, padding)
    }
}

/// Of a weight of the detector's embedding: `[O,I,k,k]`, or transposed `[I,O,2,2]`.
fn embedding(name: &str, sizes: (usize, usize, usize, usize)) -> ConvShape {
    let channels = [sizes.1, sizes.0, sizes.2];
    match name {
        "emb_conv_list.0.weight" => shape(32, channels, 2, 1),
        "emb_conv_list.1.weight" => shape(16, channels, 1, 0),
        // The convolutions that these transpose.
        "emb_conv_list.3.0.weight" => shape(8, channels, 2, 0),
        "emb_conv_list.2.weight" | "emb_conv_list.3.1.weight" => shape(16, channels, 2, 0),
        _ => panic!("{name}: a convolution that is not known here"),
    }
}
