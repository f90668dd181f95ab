//! The detector (paper, section 3, and its published code): a classifier's feature maps come in,
//! the detector feature and the logits "clean, adversarial" go out.

use candle_core::{DType, Device, Tensor};

use super::{
    layers::Linear,
    spec::TensorSpec,
    transformer::{Dropout, HEADS, Transformer},
    weights::Weights,
};
use crate::Conv2d;
use base::{Error, Result};

/// Side of every embedded map, at every width.
const SIDE: usize = 16;

/// Which feature maps the detector looks at.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DetectorInput {
    /// Stages 1 to 4; each embedded channel is a token of 256 positions
    Full,
    /// Stage 1 alone; each of 256 positions is a token
    Low,
}

/// A small Transformer over feature maps.
#[derive(Clone, Debug)]
pub struct Detector {
    input: DetectorInput,
    weights: Weights,
    embeddings: Vec<(usize, Vec<Projection>)>,
    transformer: Transformer,
    classes: Linear,
}

/// What the detector says of a batch.
pub struct Detection {
    /// The detector feature `[B,D]`: the class token after the last layer.
    pub feature: Tensor,
    /// `[B,2]`: clean, adversarial.
    pub logits: Tensor,
}

impl Detector {
    /// A fresh detector for a classifier of this width: PyTorch's initialization, drawn from the
    /// seed; class token and positions start at zero.
    pub fn init(
        input: DetectorInput,
        width: usize,
        layers: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        if !(1..=12).contains(&layers) {
            return Err(Error::Usage(format!(
                "--detector-layers {layers}: a detector has 1 to 12 layers"
            )));
        }
        let specs = specs(input, width, layers);
        Self::new("a fresh detector", Weights::init(&specs, seed, device)?)
    }

    /// The detector of these weights; input, width and layers are read off their shapes. `what`
    /// names them in errors.
    ///
    /// # Errors
    /// [`Error::Data`] when a tensor is missing, misshapen or unknown.
    pub fn new(what: &str, weights: Weights) -> Result<Self> {
        let input = if weights.contains("emb_conv_list.1.weight") {
            DetectorInput::Full
        } else {
            DetectorInput::Low
        };
        let width = weights.dim("emb_conv_list.0.weight", 1);
        let layers = (0..12)
            .take_while(|i| weights.contains(&format!("layers.{i}.norm_1.weight")))
            .count();
        weights.check(what, &specs(input, width.max(1), layers.max(1)))?;
        if !width.is_multiple_of(2) {
            let expected = format!("an even one: tokens are split among {HEADS} heads");
            return Err(Error::data(what, format!("width {width}"), expected));
        }
        let projection = |step: &Step| {
            Ok(Projection {
                shape: step.shape,
                weight: weights.get(&format!("{}.weight", step.name))?,
                bias: weights.get(&format!("{}.bias", step.name))?,
            })
        };
        let embedding = |(map, steps): &(usize, Vec<Step>)| {
            let steps: Result<Vec<Projection>> = steps.iter().map(projection).collect();
            Ok((*map, steps?))
        };
        Ok(Self {
            input,
            embeddings: embeddings(input)
                .iter()
                .map(embedding)
                .collect::<Result<_>>()?,
            transformer: Transformer::new(&weights, layers)?,
            classes: Linear::new(&weights, "cls_fc")?,
            weights,
        })
    }

    /// Which feature maps it looks at.
    pub fn input(&self) -> DetectorInput {
        self.input
    }

    /// Transformer layers.
    pub fn layers(&self) -> usize {
        self.transformer.layers()
    }

    /// The detector's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Looks at a classifier's five feature maps; drops only while training.
    pub fn forward(&self, maps: &[Tensor; 5], dropout: Option<Dropout>) -> Result<Detection> {
        let embedded = self
            .embeddings
            .iter()
            .map(|(map, steps)| {
                let mut x = maps[*map].clone();
                for step in steps {
                    x = step.forward(&x)?;
                }
                Ok(x.flatten(1, 2)?)
            })
            .collect::<Result<Vec<_>>>()?;
        let positions = Tensor::cat(&embedded, 2)?;
        let tokens = match self.input {
            DetectorInput::Full => positions.transpose(1, 2)?.contiguous()?,
            DetectorInput::Low => positions,
        };
        let feature = self
            .transformer
            .forward(&tokens.to_dtype(DType::F32)?, dropout)?;
        let logits = self.classes.forward(&feature)?;
        Ok(Detection { feature, logits })
    }
}

/// A convolution with bias on the way from a feature map to 16x16 positions.
#[derive(Clone, Debug)]
struct Projection {
    shape: Shape,
    weight: Tensor,
    bias: Tensor,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// 3x3, stride 2, padding 1: half the side.
    Halve,
    /// 1x1: the same side.
    Keep,
    /// 2x2 transposed, stride 2: twice the side.
    Double,
}

impl Projection {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self { weight, bias, .. } = self;
        let filter = |stride, padding| Conv2d {
            weight: weight.clone(),
            stride,
            padding,
        };
        Ok(match self.shape {
            Shape::Halve => crate::conv2d(x, &filter(2, 1), Some(bias))?,
            Shape::Keep => crate::conv2d(x, &filter(1, 0), Some(bias))?,
            Shape::Double => crate::conv_transpose2d(x, weight, bias, 2)?,
        })
    }
}

/// A projection to be: its channels are multiples of the classifier's width.
struct Step {
    name: &'static str,
    shape: Shape,
    c_in: usize,
    c_out: usize,
}

/// The feature maps looked at, each with its projections.
fn embeddings(input: DetectorInput) -> Vec<(usize, Vec<Step>)> {
    let step = |name, shape, c_in, c_out| Step {
        name,
        shape,
        c_in,
        c_out,
    };
    let mut all = vec![
        (1, vec![step("emb_conv_list.0", Shape::Halve, 1, 2)]),
        (2, vec![step("emb_conv_list.1", Shape::Keep, 2, 2)]),
        (3, vec![step("emb_conv_list.2", Shape::Double, 4, 2)]),
        (
            4,
            vec![
                step("emb_conv_list.3.0", Shape::Double, 8, 4),
                step("emb_conv_list.3.1", Shape::Double, 4, 2),
            ],
        ),
    ];
    if input == DetectorInput::Low {
        all.truncate(1);
    }
    all
}

/// Every tensor of a detector.
pub fn specs(input: DetectorInput, width: usize, layers: usize) -> Vec<TensorSpec> {
    let mut specs = Vec::new();
    for step in embeddings(input).iter().flat_map(|(_, steps)| steps) {
        let (c_in, c_out) = (step.c_in * width, step.c_out * width);
        let (shape, fan_in) = match step.shape {
            Shape::Halve => ([c_out, c_in, 3, 3], c_in * 9),
            Shape::Keep => ([c_out, c_in, 1, 1], c_in),
            // PyTorch counts the second dimension, which is the outputs of a transposed one.
            Shape::Double => ([c_in, c_out, 2, 2], c_out * 4),
        };
        specs.push(TensorSpec::weight(
            format!("{}.weight", step.name),
            shape,
            fan_in,
        ));
        specs.push(TensorSpec::weight(
            format!("{}.bias", step.name),
            [c_out],
            fan_in,
        ));
    }
    let (tokens, size) = match input {
        DetectorInput::Full => (8 * width, SIDE * SIDE),
        DetectorInput::Low => (SIDE * SIDE, 2 * width),
    };
    specs.extend(Transformer::specs(tokens, size, layers));
    specs.extend(Linear::specs("cls_fc", size, 2));
    specs
}
