//! The detector of adversarial examples (paper, section 3, and its published code): a Transformer over a
//! classifier's feature maps.

use candle_core::{DType, Tensor};

use super::{
    layers::Linear,
    spec::TensorSpec,
    transformer::{Dropout, HEADS, Transformer},
    weights::Weights,
};
use crate::{ComputeDevice, ComputeOptions, Conv2d};
use base::{Error, Result};

/// Side of every embedded map, at every width.
const GRID: usize = 16;

/// The feature maps that are the detector's input.
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

/// Embedding convolutions, a Transformer and a linear layer.
#[derive(Clone, Debug)]
pub struct Detector {
    input: DetectorInput,
    width: usize,
    weights: Weights,
    /// For each map, by its index, its convolutions.
    embeddings: Vec<(usize, Vec<EmbedConv>)>,
    transformer: Transformer,
    classes: Linear,
}

/// The detector's outputs for a batch.
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
        device: impl Into<ComputeDevice>,
    ) -> Result<Self> {
        if !(1..=12).contains(&layers) {
            return Err(Error::Usage(format!(
                "--detector-layers {layers}: a detector has 1 to 12 layers"
            )));
        }
        let specs = specs(input, width, layers);
        Self::new("a fresh detector", Weights::init(&specs, seed, device)?)
    }

    /// The detector of these weights; their names and shapes decide input, width and layers. `what` names them in
    /// errors.
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
        let convolution = |spec: &EmbedSpec| {
            Ok(EmbedConv {
                resample: spec.resample,
                weight: weights.get(&format!("{}.weight", spec.name))?,
                bias: weights.get(&format!("{}.bias", spec.name))?,
                options: weights.options(),
            })
        };
        let embedding = |(map, specs): &(usize, Vec<EmbedSpec>)| {
            let convolutions: Result<Vec<EmbedConv>> = specs.iter().map(convolution).collect();
            Ok((*map, convolutions?))
        };
        Ok(Self {
            input,
            width,
            embeddings: embeddings(input)
                .iter()
                .map(embedding)
                .collect::<Result<_>>()?,
            transformer: Transformer::new(&weights, layers)?,
            classes: Linear::new(&weights, "cls_fc")?,
            weights,
        })
    }

    /// The feature maps that are its input.
    pub fn input(&self) -> DetectorInput {
        self.input
    }

    /// Width of the classifiers it fits.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Transformer layers.
    pub fn layers(&self) -> usize {
        self.transformer.layers()
    }

    /// The detector's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Feature and logits of a classifier's feature maps; dropout only in training.
    ///
    /// # Errors
    /// [`Error::Data`] for maps of other sizes than a ResNet's of this width.
    pub fn forward(&self, maps: &[Tensor], dropout: Option<Dropout>) -> Result<Detection> {
        let embedded = self
            .embeddings
            .iter()
            .map(|(index, convolutions)| {
                let mut x = self.map(maps, *index)?.clone();
                for convolution in convolutions {
                    x = convolution.forward(&x)?;
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
        let logits = self.classes.forward_images(&feature)?;
        Ok(Detection { feature, logits })
    }

    /// The feature map of this index, if it has the size that its convolutions need.
    fn map<'a>(&self, maps: &'a [Tensor], index: usize) -> Result<&'a Tensor> {
        let stage = index.saturating_sub(1);
        let (side, channels) = ((2 * GRID) >> stage, self.width << stage);
        let size = [side, side, channels];
        match maps.get(index) {
            Some(map) if map.rank() == 4 && map.dims()[1..] == size => Ok(map),
            other => {
                let found = match other {
                    Some(map) => format!("shape {:?}", map.dims()),
                    None => format!("{} maps", maps.len()),
                };
                let what = format!("the detector's input, feature map {index} of the classifier");
                Err(Error::data(
                    what,
                    found,
                    format!("[B, {side}, {side}, {channels}]"),
                ))
            }
        }
    }
}

/// A convolution with bias that embeds a feature map in 16x16 positions.
#[derive(Clone, Debug)]
struct EmbedConv {
    resample: Resample,
    weight: Tensor,
    bias: Tensor,
    options: ComputeOptions,
}

/// Kernel and effect on the side of a map.
#[derive(Clone, Copy, Debug)]
enum Resample {
    /// 3x3, stride 2, padding 1: half the side.
    Down,
    /// 1x1: the same side.
    Same,
    /// 2x2 transposed, stride 2: twice the side.
    Up,
}

impl EmbedConv {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self {
            weight,
            bias,
            options,
            ..
        } = self;
        let conv = |stride, padding| Conv2d {
            weight: weight.clone(),
            stride,
            padding,
            options: *options,
        };
        Ok(match self.resample {
            Resample::Down => crate::conv2d(x, &conv(2, 1), Some(bias))?,
            Resample::Same => crate::conv2d(x, &conv(1, 0), Some(bias))?,
            Resample::Up => crate::conv_transpose2d(x, weight, bias, 2, *options)?,
        })
    }
}

/// An [`EmbedConv`] to be; its channels are in units of the classifier's width.
struct EmbedSpec {
    name: &'static str,
    resample: Resample,
    c_in: usize,
    c_out: usize,
}

/// The input feature maps by index, each with its convolutions.
fn embeddings(input: DetectorInput) -> Vec<(usize, Vec<EmbedSpec>)> {
    let conv = |name, resample, c_in, c_out| EmbedSpec {
        name,
        resample,
        c_in,
        c_out,
    };
    let mut all = vec![
        (1, vec![conv("emb_conv_list.0", Resample::Down, 1, 2)]),
        (2, vec![conv("emb_conv_list.1", Resample::Same, 2, 2)]),
        (3, vec![conv("emb_conv_list.2", Resample::Up, 4, 2)]),
        (
            4,
            vec![
                conv("emb_conv_list.3.0", Resample::Up, 8, 4),
                conv("emb_conv_list.3.1", Resample::Up, 4, 2),
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
    for conv in embeddings(input).iter().flat_map(|(_, convs)| convs) {
        let (c_in, c_out) = (conv.c_in * width, conv.c_out * width);
        let (shape, fan_in) = match conv.resample {
            Resample::Down => ([c_out, c_in, 3, 3], c_in * 9),
            Resample::Same => ([c_out, c_in, 1, 1], c_in),
            // PyTorch's fan-in counts the second dimension, which is a transposed convolution's outputs.
            Resample::Up => ([c_in, c_out, 2, 2], c_out * 4),
        };
        specs.push(TensorSpec::weight(
            format!("{}.weight", conv.name),
            shape,
            fan_in,
        ));
        specs.push(TensorSpec::weight(
            format!("{}.bias", conv.name),
            [c_out],
            fan_in,
        ));
    }
    let (tokens, size) = match input {
        DetectorInput::Full => (8 * width, GRID * GRID),
        DetectorInput::Low => (GRID * GRID, 2 * width),
    };
    specs.extend(Transformer::specs(tokens, size, layers));
    specs.extend(Linear::specs("cls_fc", size, 2));
    specs
}
